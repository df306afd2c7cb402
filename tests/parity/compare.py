"""One of our networks beside its original in PyTorch, with the same random weights and random running statistics.

A test makes a `Pair` and calls the checks on it; each records that the network passed, for the summary that the session
ends with. Everything but the three steps runs op by op: XLA then compiles each layer's shape once, for all depths
together, where a whole ResNet-152 would take minutes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.models.registry import create_model
from resnet_jax.optim.optimizers import make_optimizer
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import cross_entropy, train_step
from resnet_jax.weights.torch_layout import Rules, to_torch
from tests.weights.reading import from_torch

from .conftest import COMPARED
from .originals import torch, torchvision

__all__ = [
    "RESNET_STAGES",
    "check_evaluation",
    "check_three_steps",
    "check_training",
    "make_pair",
    "torch",
    "torchvision",
]

# Largest difference, as a share of the largest value of the original.
EVALUATION = 1e-4
TRAINING = 1e-3
# Of a gradient, or of the way that three steps go, in the Euclidean norm; measured: up to 6e-3 in ResNet-152. The
# original computes these in float64: in float32 torch's own are up to 4e-2 away, and how far depends on the processor
# (the reduction of an SK-ResNet, whose BatchNorm sees one value an image).
GRADIENT = 2e-2
# What one tensor's gradient counts as at least, as a share of the whole gradient.
SHARE = 1e-3

RESNET_STAGES = {
    "stem": "relu",
    **{f"stage{n}": f"layer{n}" for n in (1, 2, 3, 4)},
    "pooled": "avgpool",
}


@dataclass(frozen=True)
class Pair:
    """A network of ours and its original, equal in weights.

    Attributes:
        name: ours.
        model: ours.
        variables: ours, host arrays.
        original: torch's module.
        rules: from our names to torch's.
        images: float32 [B,H,W,3].
        labels: int32 [B].
        logits_of: what the original returns -> logits [B,K].
    """

    name: str
    model: nn.Module
    variables: Any
    original: Any
    rules: Rules
    images: np.ndarray
    labels: np.ndarray
    logits_of: Callable[[Any], Any] = field(default=lambda output: output)

    @property
    def torch_images(self) -> Any:
        """The images as [B,3,H,W]."""
        return torch.from_numpy(np.ascontiguousarray(self.images.transpose(0, 3, 1, 2)))

    def loss_of_original(self) -> tuple[Any, Any]:
        """The mean cross-entropy and the logits, in the type that the original's parameters have."""
        dtype = next(self.original.parameters()).dtype
        logits = self.logits_of(self.original(self.torch_images.to(dtype)))
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(self.labels).long()), logits


@contextmanager
def training_in_double(pair: Pair) -> Iterator[dict[str, np.ndarray]]:
    """The original in training mode and in float64; gives its state dict, to which it returns afterwards."""
    before = state_of(pair)
    pair.original.double().train()
    try:
        yield before
    finally:
        pair.original.float().zero_grad()
        pair.original.load_state_dict({name: torch.from_numpy(value) for name, value in before.items()})


def make_pair(
    name: str,
    original: Any,
    rules: Rules,
    *,
    shape: tuple[int, int, int] = (4, 64, 64),
    num_classes: int | None = None,
    seed: int = 0,
    steady: bool = False,
    last_norm: str = "",
    logits_of: Callable[[Any], Any] = lambda output: output,
    **overrides: Any,
) -> Pair:
    """Draws weights and statistics, and gives them to the original with `strict=True`: no tensor may be left over.

    Args:
        name: our network.
        original: torch's module, freshly made; its weights are overwritten.
        rules: from our names to torch's.
        shape: B, H, W of the images.
        num_classes: K of both networks; None is our network's own.
        seed: of everything drawn.
        steady: for comparisons in training mode: biases of normalizations that keep every value away from a ReLU's
            zero, on its positive side, and on the negative one for half of the channels of each `norm1`. Within
            rounding of zero the gradient is a coin toss: torch in float32 is up to 2 % from torch in float64.
        last_norm: name of the normalization before a residual sum, whose bias stays small, so that the sums' mean does
            not outgrow their deviation from block to block.
        logits_of: picks the logits from what the original returns.
        **overrides: options of our network.
    """
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    model = create_model(name, num_classes=num_classes, **overrides)
    images = random_images(shape, rng)
    init = partial(model.init, train=False)
    variables = random_variables(
        jax.eval_shape(init, jax.random.key(0), jnp.asarray(images[:1])), rng, steady, last_norm
    )
    tensors = {key: torch.from_numpy(np.array(value)) for key, value in to_torch(variables, rules).items()}
    original.load_state_dict(tensors, strict=True)
    back = from_torch({key: t.numpy() for key, t in original.state_dict().items()}, variables, rules)
    jax.tree.map(np.testing.assert_array_equal, back, variables)
    logits: Any = model.apply(variables, images[:1])
    labels = rng.integers(logits.shape[-1], size=shape[0]).astype(np.int32)
    return Pair(name, model, variables, original, rules, images, labels, logits_of)


def random_images(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Images [B,H,W,3] of colored squares under noise.

    Of noise alone, a deep network's features are all but equal in every place and image: a variance that is a small
    difference of large numbers, and nothing left to compare but rounding.
    """
    batch, height, width = shape
    squares = rng.normal(size=(batch, -(-height // 16), -(-width // 16), 3))
    colored = np.kron(squares, np.ones((1, 16, 16, 1)))[:, :height, :width]
    return (colored + 0.3 * rng.normal(size=colored.shape)).astype(np.float32)


def random_variables(shapes: Any, rng: np.random.Generator, steady: bool, last_norm: str) -> Any:
    """Variables none of which is at its initial value, so that a forgotten one shows; see `make_pair`."""
    leaves = flatten_dict(shapes)

    def draw(path: tuple[str, ...], leaf: Any) -> np.ndarray:
        if path[-1] == "var":
            values = rng.uniform(0.5, 1.5, leaf.shape)
        elif path[-1] == "scale":
            values = rng.uniform(0.1, 0.3, leaf.shape)  # larger ones make a deep random network chaotic
        elif path[-1] == "kernel":
            values = rng.normal(0, np.sqrt(2 / np.prod(leaf.shape[:-1])), leaf.shape)
        elif path[-1] == "bias" and steady and (*path[:-1], "scale") in leaves:
            values = rng.uniform(0.2, 0.4, leaf.shape) if path[-2] == last_norm else rng.uniform(1.5, 2.0, leaf.shape)
            values *= rng.choice([-1, 1], leaf.shape) if path[-2] == "norm1" else 1
        else:
            values = rng.normal(0, 0.2, leaf.shape)
        return values.astype(np.float32)

    return unflatten_dict({path: draw(path, leaf) for path, leaf in leaves.items()})


def check_evaluation(pair: Pair, stages: Mapping[str, str] | None = None) -> None:
    """Logits and every stage in evaluation.

    Args:
        pair: the two networks.
        stages: our feature -> the original's submodule that gives the same.
    """
    stages = stages or {}
    theirs: dict[str, np.ndarray] = {}

    def keep(feature: str) -> Callable[..., None]:
        # A later layer may work in place.
        return lambda module, inputs, output: theirs.update({feature: output.detach().clone().numpy()})

    pair.original.eval()
    hooks = [pair.original.get_submodule(path).register_forward_hook(keep(f)) for f, path in stages.items()]
    with torch.no_grad():
        logits = pair.logits_of(pair.original(pair.torch_images)).numpy()
    for hook in hooks:
        hook.remove()
    ours: Any = pair.model.apply(pair.variables, pair.images, train=False, features=True)
    for feature in stages:
        assert_close(ours[feature], as_ours(theirs[feature], ours[feature].ndim), EVALUATION, feature)
    assert_close(ours["logits"], logits, EVALUATION, "logits")
    COMPARED["logits"].add(pair.name)
    if stages:
        COMPARED["stages"].add(pair.name)


def check_training(pair: Pair) -> None:
    """Logits, updated running statistics and the gradient of the cross-entropy in training mode."""
    counts = count_values(pair)
    with training_in_double(pair) as before:
        loss, output = pair.loss_of_original()
        loss.backward()
        after = state_of(pair)
        theirs = {name: parameter.grad.numpy() for name, parameter in pair.original.named_parameters()}

    def loss_of(params: Any) -> tuple[jax.Array, tuple[jax.Array, Any]]:
        logits, updates = pair.model.apply(
            pair.variables | {"params": params}, pair.images, train=True, mutable=["batch_stats"]
        )
        return cross_entropy(logits, {"label": jnp.asarray(pair.labels)}).mean(), (logits, updates)

    (_, (logits, updates)), gradients = jax.value_and_grad(loss_of, has_aux=True)(pair.variables["params"])
    assert_close(logits, output.detach().numpy(), TRAINING, "logits")
    changed = pair.variables | {"batch_stats": updates.get("batch_stats", {})}
    check_statistics(pair, pair.variables, changed, before, after, counts)
    ours = to_torch({"params": gradients}, pair.rules)
    assert_near(ours, theirs, "gradient of {}")
    COMPARED["training mode"].add(pair.name)


def check_three_steps(pair: Pair, learning_rate: float = 0.01) -> None:
    """Parameters and statistics over three steps of SGD with momentum and weight decay, through our own train step."""
    counts = count_values(pair)
    momentum, decay = 0.9, 1e-2  # more decay than anyone trains with, so that it shows
    tx = make_optimizer(
        "sgd",
        optax.constant_schedule(learning_rate),
        momentum=momentum,
        nesterov=False,
        weight_decay=decay,
        decay_norm_and_bias=True,
    )
    params = jax.tree.map(jnp.asarray, pair.variables["params"])
    state = TrainState(jnp.int32(0), params, pair.variables.get("batch_stats", {}), tx.init(params))
    batch = {"image": jnp.asarray(pair.images), "label": jnp.asarray(pair.labels), "mask": jnp.ones(len(pair.labels))}
    with training_in_double(pair) as start:
        sgd = torch.optim.SGD(pair.original.parameters(), lr=learning_rate, momentum=momentum, weight_decay=decay)
        for step in range(3):
            before, was = state_of(pair), {"batch_stats": state.batch_stats}
            sgd.zero_grad()
            loss, _ = pair.loss_of_original()
            loss.backward()
            sgd.step()
            state, _ = train_step(state, batch, model=pair.model, tx=tx, key=jax.random.key(0))
            theirs = state_of(pair)
            # The way from the start: beside the parameters themselves, three steps are too short to be seen.
            moved = to_torch({"params": state.params}, pair.rules)
            assert_near(
                {name: value - start[name] for name, value in moved.items()},
                {name: theirs[name] - start[name] for name in moved},
                f"way of {{}} in {step + 1} steps",
            )
            check_statistics(pair, was, {"batch_stats": state.batch_stats}, before, theirs, counts)
    COMPARED["three steps"].add(pair.name)


def check_statistics(pair: Pair, was: Any, now: Any, before: Any, after: Any, counts: Mapping[str, int]) -> None:
    """Running statistics after an update, ours turned into torch's convention.

    Both keep 0.9 of the old value; into the variance torch takes the unbiased one of the batch, n / (n - 1) times ours,
    where n is the number of values that a channel has in the batch.
    """
    old, new = (to_torch({"batch_stats": tree.get("batch_stats", {})}, pair.rules) for tree in (was, now))
    for name in (key for key in new if "running" in key):
        expected = new[name]
        if name.endswith("running_var"):
            n = counts[name.removesuffix(".running_var")]
            expected = 0.9 * before[name] + (new[name] - 0.9 * old[name]) * n / (n - 1)
        assert_close(expected, after[name], TRAINING, name)


def count_values(pair: Pair) -> dict[str, int]:
    """Count the values of a channel that each normalization of the original sees: by the module's name."""
    counts: dict[str, int] = {}

    def count(name: str) -> Callable[..., None]:
        return lambda module, inputs: counts.update({name: inputs[0].numel() // inputs[0].shape[1]})

    norms = torch.nn.modules.batchnorm._BatchNorm
    hooks = [m.register_forward_pre_hook(count(n)) for n, m in pair.original.named_modules() if isinstance(m, norms)]
    pair.original.eval()
    with torch.no_grad():
        pair.original(pair.torch_images)
    for hook in hooks:
        hook.remove()
    return counts


def state_of(pair: Pair) -> dict[str, np.ndarray]:
    """A copy of the original's state dict."""
    return {name: tensor.detach().clone().numpy() for name, tensor in pair.original.state_dict().items()}


def as_ours(array: np.ndarray, ndim: int) -> np.ndarray:
    """An output [B,C,H,W] as [B,H,W,C]; [B,C,1,1] as [B,C] where ours has two axes."""
    if array.ndim == 4:
        array = array.transpose(0, 2, 3, 1)
    return array.reshape(array.shape[0], -1) if ndim == 2 else array


def assert_close(ours: Any, theirs: np.ndarray, tolerance: float, what: str) -> None:
    """Same shape, and no value further away than `tolerance` of the largest of theirs."""
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape, f"{what}: {ours.shape} where the original has {theirs.shape}"
    difference = np.abs(ours - theirs).max() / max(np.abs(theirs).max(), np.finfo(np.float32).tiny)
    assert difference < tolerance, f"{what}: {difference:.1e} from the original"


def assert_near(ours: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], what: str) -> None:
    """Tensor by tensor the difference is short beside theirs, or beside a thousandth of all of theirs together.

    Where another normalization undoes what a parameter does, its gradient is zero, and what is computed is rounding.
    """
    least = SHARE * np.sqrt(sum(float(np.square(tensor).sum()) for tensor in theirs.values()))
    for name, tensor in theirs.items():
        assert ours[name].shape == tensor.shape, name
        difference = np.linalg.norm(ours[name] - tensor) / max(float(np.linalg.norm(tensor)), least)
        assert difference < GRADIENT, f"{what.format(name)}: {difference:.1e} from the original"
