"""Optimizers equal torch's and timm's over twenty steps with a changing rate, to float32's rounding."""

from collections import Counter
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resnet_jax import create_model
from resnet_jax.optim.lr_scale import learning_rate_multipliers
from resnet_jax.optim.optimizers import make_optimizer, rmsprop
from resnet_jax.optim.param_paths import by_path
from resnet_jax.optim.schedules import make_schedule
from resnet_jax.optim.trust_ratio import lars
from resnet_jax.optim.weight_decay import add_decay

from .originals import torch

timm = pytest.importorskip("timm", reason="the originals are timm's")
timm_muon = pytest.importorskip("timm.optim.muon")
timm_clipping = pytest.importorskip("timm.utils.agc")

SHAPES = {
    "stem_conv": {"kernel": (3, 3, 2, 4)},
    "stem_norm": {"scale": (4,), "bias": (4,)},
    "stage1_block01": {"conv1": {"kernel": (1, 1, 4, 8)}, "norm1": {"scale": (8,), "bias": (8,)}},
    "stage2_block01": {"conv1": {"kernel": (3, 3, 8, 6)}, "dense1": {"kernel": (6, 3), "bias": (3,)}},
    "head": {"kernel": (6, 5), "bias": (5,)},
}
STEPS = 20
RATE = make_schedule("cosine", peak=0.1, total_steps=30, warmup_steps=5, warmup_start=0.02)
DECAY = 0.3


def draw(seed: int) -> Any:
    """A tree of normal numbers of SHAPES."""
    rng = np.random.default_rng(seed)
    is_shape = lambda node: isinstance(node, tuple)  # noqa: E731
    return jax.tree.map(lambda shape: rng.normal(size=shape).astype(np.float32), SHAPES, is_leaf=is_shape)


def to_torch(leaf: np.ndarray) -> Any:
    """HWIO to OIHW, [in, out] to [out, in]."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(leaf.ndim, (0,))
    return torch.from_numpy(leaf.transpose(axes).copy())  # torch changes its own


PARAMS = draw(1000)
PATHS = list(by_path(PARAMS))
KERNELS = [path for path in PATHS if path.endswith("/kernel")]
REST = [path for path in PATHS if not path.endswith("/kernel")]
CONVOLUTIONS = [path for path in KERNELS if path.startswith("stage") and "conv" in path]


class Originals:
    """The parameters as torch has them, and what an optimizer of torch's makes of them."""

    def __init__(self):
        self.params = {path: torch.nn.Parameter(to_torch(leaf)) for path, leaf in by_path(PARAMS).items()}

    def group(self, paths: list[str], **options: Any) -> dict:
        return {"params": [self.params[path] for path in paths], **options}

    def train(self, optimizer: Any, rate: optax.Schedule = RATE) -> None:
        for step in range(STEPS):
            for path, gradient in by_path(draw(step)).items():
                self.params[path].grad = to_torch(gradient)
            for group in optimizer.param_groups:
                group["lr"] = float(np.asarray(rate(step)))
            optimizer.step()

    def assert_ours_are_the_same(
        self, tx: optax.GradientTransformation, paths: list[str] = PATHS, rtol: float = 2e-5, atol: float = 5e-6
    ) -> None:
        update = jax.jit(tx.update)
        params, opt_state = jax.tree.map(jnp.array, PARAMS), tx.init(PARAMS)
        for step in range(STEPS):
            updates, opt_state = update(draw(step), opt_state, params)
            params = optax.apply_updates(params, updates)
        for path in paths:
            got, start = to_torch(np.array(by_path(params)[path])), to_torch(by_path(PARAMS)[path])
            assert not torch.allclose(got, start, atol=1e-2), path  # there was something to compare
            expected = self.params[path].detach()
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=rtol, atol=atol, err_msg=path)


def two_groups(originals: Originals) -> list[dict]:
    return [originals.group(KERNELS, weight_decay=DECAY), originals.group(REST, weight_decay=0.0)]


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(nesterov):
    originals = Originals()
    originals.train(torch.optim.SGD(originals.params.values(), momentum=0.9, nesterov=nesterov, weight_decay=DECAY))
    originals.assert_ours_are_the_same(make_optimizer("sgd", RATE, nesterov=nesterov, weight_decay=DECAY))


# Of Adam's kind: 1 - 0.999 is wrong by 6e-5 of itself in float32, and the first steps by half of that.
FIRST_STEPS = 1e-5


def test_adamw():
    originals = Originals()
    originals.train(torch.optim.AdamW(two_groups(originals)))
    tx = make_optimizer("adamw", RATE, weight_decay=DECAY, decay_norm_and_bias=False)
    originals.assert_ours_are_the_same(tx, atol=FIRST_STEPS)


def test_adam():
    originals = Originals()
    originals.train(torch.optim.Adam(originals.params.values(), weight_decay=DECAY))
    originals.assert_ours_are_the_same(make_optimizer("adamw", RATE, weight_decay=DECAY, decay="l2"), atol=FIRST_STEPS)


def test_lamb():
    originals = Originals()
    originals.train(timm.optim.Lamb(two_groups(originals)))
    originals.assert_ours_are_the_same(
        make_optimizer("lamb", RATE, weight_decay=DECAY, clip_norm=1.0), atol=FIRST_STEPS
    )


@pytest.mark.parametrize("nesterov", [False, True])
def test_lars_at_a_constant_rate(nesterov):
    """timm multiplies by the rate behind the momentum and we, like MLPerf, before it."""
    originals, rate = Originals(), optax.constant_schedule(0.1)
    options = {"momentum": 0.8, "nesterov": nesterov}
    originals.train(timm.optim.Lars(two_groups(originals), trust_coeff=0.3, eps=1e-3, **options), rate)
    ours = lars(rate, weight_decay=DECAY, trust_coefficient=0.3, epsilon=1e-3, **options)
    originals.assert_ours_are_the_same(ours)


@pytest.mark.parametrize("epsilon", [1e-10, 1e-3])
def test_rmsprop(epsilon):
    originals = Originals()
    originals.train(timm.optim.RMSpropTF(two_groups(originals), momentum=0.9, eps=epsilon))
    tx = optax.chain(*rmsprop(RATE, add_decay(DECAY, decay_norm_and_bias=False), epsilon=epsilon))
    originals.assert_ours_are_the_same(tx)


@pytest.mark.parametrize("nesterov", [False, True])
def test_muon_of_convolutions(nesterov, monkeypatch):
    in_float32 = partial(timm_muon.zeropower_via_newtonschulz, dtype=torch.float32)
    monkeypatch.setattr(timm_muon, "zeropower_via_newtonschulz", in_float32)
    originals = Originals()
    group = originals.group(CONVOLUTIONS, weight_decay=DECAY)
    options = {"momentum": 0.95, "nesterov": nesterov}
    jordans = {"adjust_lr_fn": "original", "ns_coefficients": "original"}  # timm's defaults are others'
    originals.train(timm.optim.Muon([group], **options, **jordans))
    tx = make_optimizer("muon", RATE, weight_decay=DECAY, **options)
    originals.assert_ours_are_the_same(tx, CONVOLUTIONS, rtol=1e-4, atol=2e-5)


def test_muon_of_dense_layers(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)  # the iteration is in bfloat16, always
    originals = Originals()
    dense = ["stage2_block01/dense1/kernel"]
    originals.train(torch.optim.Muon([originals.group(dense)], weight_decay=DECAY))
    tx = make_optimizer("muon", RATE, momentum=0.95, nesterov=True, weight_decay=DECAY)
    originals.assert_ours_are_the_same(tx, dense, rtol=1e-4, atol=2e-5)


class ClippedSGD(torch.optim.SGD):
    """SGD whose gradients but the head's are clipped before each step, as timm's training script does."""

    def __init__(self, originals: Originals):
        super().__init__(originals.params.values(), momentum=0.9)
        self.clipped = [originals.params[path] for path in PATHS if not path.startswith("head/")]

    def step(self, closure: Any = None) -> None:
        timm_clipping.adaptive_clip_grad(self.clipped, clip_factor=0.9)
        super().step(closure)


def test_adaptive_clipping():
    originals = Originals()
    originals.train(ClippedSGD(originals))
    originals.assert_ours_are_the_same(make_optimizer("sgd", RATE, adaptive_clip=0.9))


@pytest.mark.parametrize("name", ["resnet18", "resnet26d", "seresnet50"])
def test_layer_decay(name):
    """How many values learn at which rate."""
    groups = timm.optim.param_groups_layer_decay(timm.create_model(name), layer_decay=0.7)
    theirs = Counter()
    for group in groups:
        theirs[round(group["lr_scale"], 9)] += sum(value.numel() for value in group["params"])
    init = partial(create_model(name).init, train=False)
    params: Any = jax.eval_shape(init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))["params"]
    rates, ours = by_path(learning_rate_multipliers(params, layer_decay=0.7)), Counter()
    for path, leaf in by_path(params).items():
        ours[round(rates[path], 9)] += leaf.size
    assert ours == theirs
