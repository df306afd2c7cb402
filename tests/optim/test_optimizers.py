"""Optimizers against their published rules, written out in float64, over twenty steps."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax.errors import InputError
from resnet_jax.optim.lr_scale import learning_rate_multipliers
from resnet_jax.optim.muon import matrix_mask, muon, orthogonalize
from resnet_jax.optim.optimizers import DECAYS, adamw, make_optimizer, rmsprop
from resnet_jax.optim.param_paths import by_path, layer_of, map_with_path
from resnet_jax.optim.schedules import make_schedule
from resnet_jax.optim.trust_ratio import lamb, lars
from resnet_jax.optim.weight_decay import add_decay, decay_mask

SHAPES = {
    "stem_conv": {"kernel": (3, 3, 2, 4)},
    "stem_norm": {"scale": (4,), "bias": (4,)},
    "stage1_block01": {"conv1": {"kernel": (1, 1, 4, 8)}, "norm1": {"scale": (8,), "bias": (8,)}},
    "stage1_block02": {"attention": {"kernel": (3, 1, 1)}},
    "stage2_block01": {"conv1": {"kernel": (3, 3, 8, 6)}, "dense1": {"kernel": (6, 3), "bias": (3,)}},
    "head": {"kernel": (6, 5), "bias": (5,)},
}


def draw(seed: int) -> Any:
    """A tree of normal numbers of SHAPES."""
    rng = np.random.default_rng(seed)
    is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree.map(lambda shape: rng.normal(size=shape).astype(np.float32), SHAPES, is_leaf=is_shape)


PARAMS = draw(1000)
STEPS = 20
RATE = make_schedule("linear", peak=0.1, total_steps=30, warmup_steps=5, warmup_start=0.02)
RATES = [float(np.asarray(RATE(step))) for step in range(STEPS)]
# 1 - 0.999 is wrong by 6e-5 of itself in float32, and with it, by half of that, Adam's first steps of 0.1.
FIRST_STEPS = 1e-5
Rule = Callable[[str, np.ndarray, np.ndarray, dict, float, int], np.ndarray]


def ours(tx: optax.GradientTransformation, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Parameters by path after STEPS compiled steps on `draw(step)` times `scale`, state and parameters donated."""

    def step(params: Any, opt_state: Any, gradients: Any) -> tuple[Any, Any]:
        updates, opt_state = tx.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    compiled = jax.jit(step, donate_argnums=(0, 1))
    params = jax.tree.map(jnp.array, PARAMS)
    opt_state = tx.init(params)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves(opt_state)}
    assert dtypes <= {jnp.dtype("float32"), jnp.dtype("int32")}
    for number in range(STEPS):
        params, opt_state = compiled(params, opt_state, jax.tree.map(lambda g: scale * g, draw(number)))
    assert {leaf.dtype for leaf in jax.tree.leaves((params, opt_state))} <= dtypes | {jnp.dtype("float32")}
    return {path: np.asarray(leaf) for path, leaf in by_path(params).items()}


def theirs(rule: Rule, scale: float = 1.0) -> dict[str, np.ndarray]:
    """The same by `rule(path, weight, gradient, memory, rate, step)` in float64; steps count from 1."""
    params = {path: leaf.astype(np.float64) for path, leaf in by_path(PARAMS).items()}
    memories: dict[str, dict] = {path: {} for path in params}
    for number, rate in enumerate(RATES):
        for path, gradient in by_path(draw(number)).items():
            gradient = scale * gradient.astype(np.float64)
            params[path] = rule(path, params[path], gradient, memories[path], rate, number + 1)
    return params


def assert_same(got: dict, expected: dict, rtol: float = 2e-5, atol: float = 2e-6) -> None:
    assert got.keys() == expected.keys()
    for path, leaf in expected.items():
        np.testing.assert_allclose(got[path], leaf, rtol=rtol, atol=atol, err_msg=path)


def momentum_of(memory: dict, gradient: np.ndarray, momentum: float, nesterov: bool) -> np.ndarray:
    memory["momentum"] = momentum * memory.get("momentum", 0.0) + gradient
    return gradient + momentum * memory["momentum"] if nesterov else memory["momentum"]


def adam_direction(memory: dict, g: np.ndarray, step: int, beta1: float, beta2: float, epsilon: float) -> np.ndarray:
    memory["m"] = beta1 * memory.get("m", 0.0) + (1 - beta1) * g
    memory["v"] = beta2 * memory.get("v", 0.0) + (1 - beta2) * g**2
    return memory["m"] / (1 - beta1**step) / (np.sqrt(memory["v"] / (1 - beta2**step)) + epsilon)


def is_kernel(path: str) -> bool:
    return path.endswith("/kernel")


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("decay_norm_and_bias", [False, True])
@pytest.mark.parametrize("decay", ["l2", "decoupled"])
def test_sgd(nesterov, decay_norm_and_bias, decay):
    def rule(path, w, g, memory, rate, step):
        decayed = 0.3 * w if decay_norm_and_bias or is_kernel(path) else 0.0
        if decay == "l2":
            return w - rate * momentum_of(memory, g + decayed, 0.8, nesterov)
        return w - rate * (momentum_of(memory, g, 0.8, nesterov) + decayed)

    options = {"nesterov": nesterov, "decay_norm_and_bias": decay_norm_and_bias, "decay": decay}
    assert_same(ours(make_optimizer("sgd", RATE, momentum=0.8, weight_decay=0.3, **options)), theirs(rule))


@pytest.mark.parametrize("decay", ["l2", "decoupled"])
def test_adamw(decay):
    def rule(path, w, g, memory, rate, step):
        decayed = 0.3 * w if is_kernel(path) else 0.0
        if decay == "l2":
            return w - rate * adam_direction(memory, g + decayed, step, 0.85, 0.95, 1e-3)
        return w - rate * (adam_direction(memory, g, step, 0.85, 0.95, 1e-3) + decayed)

    decaying = add_decay(0.3, decay_norm_and_bias=False)
    tx = optax.chain(*adamw(RATE, decaying, decay, beta1=0.85, beta2=0.95, epsilon=1e-3))
    assert_same(ours(tx), theirs(rule))


def test_adam_and_lamb_forget_and_divide_as_published_where_nothing_is_said():
    def adam(path, w, g, memory, rate, step):
        return w - rate * adam_direction(memory, g, step, 0.9, 0.999, 1e-8)

    assert_same(ours(make_optimizer("adamw", RATE)), theirs(adam), atol=FIRST_STEPS)
    # Gradients so small that epsilon counts: LAMB's is 1e-6.
    got = ours(make_optimizer("lamb", RATE), scale=1e-6)
    expected = theirs(lamb_rule(0.0, 1e-6), scale=1e-6)
    assert_same(got, expected, atol=FIRST_STEPS)


def lamb_rule(weight_decay: float, epsilon: float) -> Rule:
    """LAMB, algorithm 2 of You et al. 2020 with phi(z) = z; norms and biases take Adam's step."""

    def rule(path, w, g, memory, rate, step):
        direction = adam_direction(memory, g, step, 0.9, 0.999, epsilon)
        if not is_kernel(path):
            return w - rate * direction
        direction = direction + weight_decay * w
        return w - rate * direction * np.linalg.norm(w) / np.linalg.norm(direction)

    return rule


def test_lamb():
    got = ours(lamb(RATE, weight_decay=0.3, epsilon=1e-3))
    assert_same(got, theirs(lamb_rule(0.3, 1e-3)), atol=FIRST_STEPS)


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars(nesterov):
    # The gradients are as small as epsilon, so that its place shows.
    scale, options = 1e-6, {"trust_coefficient": 0.01, "momentum": 0.8, "nesterov": nesterov, "weight_decay": 1e-6}

    def rule(path, w, g, memory, rate, step):
        if is_kernel(path):
            length = np.linalg.norm(w)
            ratio = 0.01 * length / (np.linalg.norm(g) + 1e-6 * length + 1e-7)
            g = ratio * (g + 1e-6 * w)
        return w - momentum_of(memory, rate * g, 0.8, nesterov)

    assert_same(ours(lars(RATE, **options), scale), theirs(rule, scale))


@pytest.mark.parametrize("kind", ["lars", "lamb", "muon"])
def test_zeros_are_divided_by_nothing(kind):
    tx = make_optimizer(kind, RATE, weight_decay=0.1, adaptive_clip=0.1, clip_norm=1.0)
    zeros = jax.tree.map(np.zeros_like, PARAMS)
    first_updates = jax.jit(lambda gradients, params: tx.update(gradients, tx.init(params), params)[0])
    for params, gradients in ((PARAMS, zeros), (zeros, zeros), (zeros, PARAMS)):
        updates = first_updates(gradients, params)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updates))


def test_rmsprop():
    def rule(path, w, g, memory, rate, step):
        g = g + (0.3 * w if is_kernel(path) else 0.0)
        memory["v"] = 0.95 * memory.get("v", 1.0) + 0.05 * g**2
        return w - momentum_of(memory, rate * g / np.sqrt(memory["v"] + 0.1), 0.8, nesterov=False)

    decaying = add_decay(0.3, decay_norm_and_bias=False)
    tx = optax.chain(*rmsprop(RATE, decaying, momentum=0.8, beta2=0.95, epsilon=0.1))
    assert_same(ours(tx), theirs(rule))


def newton_schulz(kernel: np.ndarray, steps: int = 5) -> np.ndarray:
    """Muon's polynomial of a kernel's singular values, by way of its singular value decomposition."""
    u, s, v = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return ((u * s) @ v).reshape(kernel.shape)


MATRICES = {"stage1_block01/conv1/kernel", "stage2_block01/conv1/kernel", "stage2_block01/dense1/kernel"}


@pytest.mark.parametrize("shape", [(3, 3, 8, 6), (1, 1, 4, 8), (6, 3), (2, 2, 1, 4)])
@pytest.mark.parametrize("steps", [3, 5])
def test_newton_schulz_is_a_polynomial_of_singular_values(shape, steps):
    kernel = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(orthogonalize(jnp.asarray(kernel), steps), newton_schulz(kernel, steps), atol=1e-5)
    singular = np.linalg.svd(np.asarray(orthogonalize(jnp.asarray(kernel))).reshape(-1, shape[-1]), compute_uv=False)
    assert 0.68 < singular.min() <= singular.max() < 1.21


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_moves_matrices_and_sgd_the_rest(nesterov):
    assert {path for path, matrix in by_path(matrix_mask(PARAMS)).items() if matrix} == MATRICES

    def rule(path, w, g, memory, rate, step):
        if path not in MATRICES:
            return w - 0.5 * rate * momentum_of(memory, g + 0.3 * w, 0.7, nesterov)
        update = newton_schulz(momentum_of(memory, g, 0.95, nesterov))
        outputs, inputs = w.shape[-1], w.size / w.shape[-1]
        update = update * max(1.0, outputs / inputs) ** 0.5
        return (1.0 - 0.3 * rate) * w - rate * update

    slower = optax.sgd(lambda step: 0.5 * RATE(step), momentum=0.7, nesterov=nesterov)
    others = optax.chain(add_decay(0.3), slower)
    tx = muon(RATE, others, add_decay(0.3), momentum=0.95, nesterov=nesterov)
    assert_same(ours(tx), theirs(rule), rtol=1e-4, atol=2e-5)


def clipped(path: str, w: np.ndarray, g: np.ndarray, ratio: float) -> np.ndarray:
    """Adaptive clipping of Brock et al. 2021: a unit is what makes one output, a vector is one unit."""
    if path.startswith("head/"):
        return g
    axes = tuple(range(w.ndim - 1)) if w.ndim > 1 else (0,)
    norm = lambda x: np.sqrt((x**2).sum(axis=axes, keepdims=True))  # noqa: E731
    return g * np.minimum(1.0, ratio * np.maximum(norm(w), 1e-3) / norm(g))


def test_gradients_are_clipped_unit_by_unit():
    def rule(path, w, g, memory, rate, step):
        return w - rate * momentum_of(memory, clipped(path, w, g, 0.9), 0.9, False)

    assert_same(ours(make_optimizer("sgd", RATE, adaptive_clip=0.9)), theirs(rule))
    params, gradients = by_path(PARAMS), by_path(draw(0))
    changed = [clipped(path, params[path], gradient, 0.9) != gradient for path, gradient in gradients.items()]
    assert 0 < sum(x.sum() for x in changed) < sum(x.size for x in changed)  # the test sees both


@pytest.mark.parametrize("scale", [0.01, 1.0])
def test_gradients_are_clipped_together(scale):
    norms = [np.sqrt(sum((g**2).sum() for g in by_path(draw(step)).values())) for step in range(STEPS)]

    def rule(path, w, g, memory, rate, step):
        return w - rate * momentum_of(memory, g * min(1.0, 3.0 / (scale * norms[step - 1])), 0.9, False)

    assert scale * max(norms) < 3.0 or scale * min(norms) > 3.0
    assert_same(ours(make_optimizer("sgd", RATE, clip_norm=3.0), scale), theirs(rule, scale))


def test_kernels_decay_and_what_has_one_axis_does_not():
    assert {path for path, decays in by_path(decay_mask(PARAMS)).items() if decays} == set(
        filter(is_kernel, by_path(PARAMS))
    )


@pytest.mark.parametrize(
    ("path", "layer"),
    [
        ("stem_conv/kernel", (-1, 0)),
        ("stem_norm2/bias", (-1, 0)),
        ("backbone/stem_conv/kernel", (-1, 0)),
        ("stage3_block05/norm2/bias", (3, 5)),
        ("backbone/stage4_block12/conv_proj/kernel", (4, 12)),
        ("stage2_conv3/kernel", (2, 3)),
        ("stage2_norm3/bias", (2, 3)),
        ("stage2_conv/kernel", (2, 0)),
        ("transition2_conv/kernel", (2, 10_000)),
        ("decoder1/conv1/kernel", None),
        ("aux1/conv1/kernel", None),
        ("head/kernel", None),
        ("head_norm/scale", None),
    ],
)
def test_layers_by_name(path, layer):
    assert layer_of(path) == layer


def test_each_layer_learns_slower_than_the_next():
    rates = by_path(learning_rate_multipliers(PARAMS, layer_decay=0.5))
    expected = {"head": 1.0, "stage2_block01": 0.5, "stage1_block02": 0.25, "stage1_block01": 0.125, "stem_": 0.0625}
    for path, rate in rates.items():
        assert rate == next(value for start, value in expected.items() if path.startswith(start)), path


@pytest.mark.parametrize("kind", sorted(DECAYS))
def test_layer_decay_multiplies_every_optimizers_steps_and_their_decay(kind):
    options = {"weight_decay": 0.1, "nesterov": True}
    plain, slowed = make_optimizer(kind, RATE, **options), make_optimizer(kind, RATE, layer_decay=0.5, **options)
    # One program: the same rounding of both.
    updates, slow = jax.jit(lambda g, p: [tx.update(g, tx.init(p), p)[0] for tx in (plain, slowed)])(draw(0), PARAMS)
    for path, rate in by_path(learning_rate_multipliers(PARAMS, layer_decay=0.5)).items():
        np.testing.assert_allclose(by_path(slow)[path], rate * np.asarray(by_path(updates)[path]), err_msg=path)


def test_biases_of_norms_learn_faster_and_decay_alike():
    def rule(path, w, g, memory, rate, step):
        own = 64.0 if path in ("stem_norm/bias", "stage1_block01/norm1/bias") else 1.0
        return w - own * rate * momentum_of(memory, g + 0.3 / own * w, 0.85, True)

    tx = make_optimizer("sgd", RATE, momentum=0.85, nesterov=True, weight_decay=0.3, norm_bias_rate=64.0)
    assert_same(ours(tx), theirs(rule), atol=1e-5)


@pytest.mark.parametrize("decay_norm_and_bias", [False, True])
def test_a_step_applies_the_multiplier_and_the_decay_of_every_parameter(decay_norm_and_bias):
    multipliers = by_path(learning_rate_multipliers(PARAMS, layer_decay=0.5, norm_bias_rate=4.0))
    norm_biases = ("stem_norm/bias", "stage1_block01/norm1/bias")

    def decay_of(path: str) -> float:
        if not decay_norm_and_bias and not is_kernel(path):
            return 0.0
        return 0.3 / 4 if path in norm_biases else 0.3

    options = {"decay_norm_and_bias": decay_norm_and_bias, "layer_decay": 0.5, "norm_bias_rate": 4.0}
    tx = make_optimizer("sgd", optax.constant_schedule(1.0), weight_decay=0.3, **options)
    zeros = jax.tree.map(np.zeros_like, PARAMS)
    decayed = by_path(tx.update(zeros, tx.init(PARAMS), PARAMS)[0])
    undecayed = make_optimizer("sgd", optax.constant_schedule(1.0), **options)
    moved = by_path(undecayed.update(draw(0), undecayed.init(PARAMS), PARAMS)[0])
    gradients, params = by_path(draw(0)), by_path(PARAMS)
    assert multipliers.keys() == params.keys()
    for path, multiplier in multipliers.items():
        np.testing.assert_allclose(decayed[path], -multiplier * decay_of(path) * params[path], rtol=1e-6, err_msg=path)
        np.testing.assert_allclose(moved[path], -multiplier * gradients[path], rtol=1e-6, err_msg=path)
    assert multipliers["stem_norm/bias"] == 0.25


@pytest.mark.parametrize("kind", sorted(DECAYS))
def test_the_state_has_one_shape_under_every_schedule(kind):
    schedules = [make_schedule(k, peak=0.1, total_steps=9) for k in ("constant", "step", "cosine", "polynomial")]
    options = {"clip_norm": 1.0, "adaptive_clip": 0.1, "layer_decay": 0.9, "norm_bias_rate": 2.0}
    states = [make_optimizer(kind, schedule, **options).init(PARAMS) for schedule in schedules]
    assert len({jax.tree.structure(state) for state in states}) == 1


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("sgdm", {}, "'sgdm'"),
        ("lamb", {"decay": "l2"}, "'lamb' is 'decoupled', not 'l2'"),
        ("sgd", {"decay": "l1"}, "'l2' or 'decoupled', not 'l1'"),
    ],
)
def test_what_there_is_not_is_refused_by_name(kind, options, words):
    with pytest.raises(ValueError, match=words):
        make_optimizer(kind, RATE, **options)


@pytest.mark.parametrize("option", [{"layer_decay": 0.0}, {"layer_decay": 1.5}, {"norm_bias_rate": 0.0}])
def test_multipliers_out_of_range_are_refused(option):
    with pytest.raises(InputError, match=f"--{next(iter(option))}="):
        make_optimizer("sgd", RATE, **option)


def test_paths_are_those_of_the_tree():
    assert by_path(map_with_path(lambda path, _: path, PARAMS)) == {path: path for path in by_path(PARAMS)}
