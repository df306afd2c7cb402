"""Holds a network of ours beside its original in torch: same weights, same images, same loss, and looks at everything.

Torch keeps the unbiased running variance, flax the biased one: what torch adds in a step is n / (n - 1) times what we
add, where n is the number of values that a channel's statistics are taken over. `updated_statistics` converts.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from resnet_jax.networks.registry import create_model

torch = pytest.importorskip("torch", reason="the originals are torch's: pip install torch torchvision")
torch.set_num_threads(1)

Rules = Sequence[tuple[str, Any]]
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
MOMENTUM, LEARNING_RATE = 0.9, 0.01


@dataclass
class Pair:
    """A network of ours and its original.

    Attributes:
        name: what `create_model` calls ours.
        original: torch's, with dropout of probability zero.
        rules: from our module paths to torch's.
        stages: for each of our features, the torch module whose output it is.
        options: of `create_model`.
        image_size: pixels a side.
        batch: images.
        logits_of: all logits that a loss reads, from what the original returns: {name of our feature: tensor}.
    """

    name: str
    original: Any
    rules: Rules
    stages: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    image_size: int = 64
    batch: int = 4
    logits_of: Callable[[Any], dict[str, Any]] = lambda output: {"logits": output}

    def __post_init__(self) -> None:
        randomise(self.original)
        self.ours: Any = create_model(self.name, **self.options)
        rng = np.random.default_rng(0)
        self.images = rng.normal(size=(self.batch, self.image_size, self.image_size, 3)).astype(np.float32)
        self.shapes = jax.eval_shape(
            lambda: self.ours.init(jax.random.key(0), jnp.asarray(self.images), train=False)
        )

    def torch_images(self) -> Any:
        return torch.from_numpy(self.images.transpose(0, 3, 1, 2).copy())

    def variables(self, tensors: dict[str, Any] | None = None, collections: Sequence[str] = ()) -> Any:
        """Torch's tensors (by default all of the original's, else those given by their torch names) as our variables."""
        tensors = dict(self.original.state_dict() if tensors is None else tensors)
        wanted = {c: self.shapes[c] for c in collections or self.shapes}
        flat = {}
        for path, shape in traverse_util.flatten_dict(wanted).items():
            value = tensors.pop(self.torch_name(path)).detach().numpy()
            value = value.transpose(*((2, 3, 1, 0) if value.ndim == 4 else range(value.ndim)[::-1]))
            assert value.shape == shape.shape, path
            flat[path] = jnp.asarray(value.copy())
        left = [name for name in tensors if not name.endswith("num_batches_tracked")]
        if not collections:
            assert not left, f"tensors of torch's that we have no place for: {left}"
        return traverse_util.unflatten_dict(flat)

    def torch_name(self, path: tuple[str, ...]) -> str:
        """Torch's name of the leaf at `path`, whose first part is the collection."""
        module = "/".join(path[1:-1])
        for pattern, replacement in self.rules:
            module = re.sub(pattern, replacement, module)
        return module.replace("/", ".") + "." + LEAVES[path[-1]]


def randomise(model: Any, seed: int = 0) -> None:
    """Random scales, biases and running statistics; weights keep torch's random initial values."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.ndim == 1:
                tensor.normal_(0.0, 0.1, generator=generator)
            elif tensor.ndim == 2:
                tensor.normal_(0.0, tensor.shape[1] ** -0.5, generator=generator)
            else:
                fan_in = tensor[0].numel()
                tensor.normal_(0.0, (2.0 / fan_in) ** 0.5, generator=generator)


def relative_error(ours: Any, original: Any) -> float:
    """Largest difference over the original's largest value."""
    ours, original = np.asarray(ours, np.float64), np.asarray(original, np.float64)
    assert ours.shape == original.shape
    return float(np.abs(ours - original).max() / np.abs(original).max())


def channels_last(tensor: Any) -> np.ndarray:
    """A torch tensor as we lay it out."""
    array = tensor.detach().numpy()
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def evaluation_errors(pair: Pair) -> dict[str, float]:
    """Relative error of every stage and of the logits in evaluation mode."""
    original = pair.original.eval()
    seen: dict[str, Any] = {}
    hooks = [
        original.get_submodule(module).register_forward_hook(
            lambda _, __, out, stage=stage: seen.update({stage: out.clone()})
        )
        for stage, module in pair.stages.items()
    ]
    with torch.no_grad():
        seen["logits"] = pair.logits_of(original(pair.torch_images()))["logits"]
    for hook in hooks:
        hook.remove()
    apply = jax.jit(lambda v, x: pair.ours.apply(v, x, train=False, features=True))
    outputs = apply(pair.variables(), pair.images)
    return {stage: relative_error(outputs[stage], channels_last(seen[stage])) for stage in seen}


def losses(logits: dict[str, Any], label: Any) -> Any:
    """A loss that reads every set of logits: cross-entropy, an auxiliary one at 0.3."""
    terms = [
        optax.softmax_cross_entropy_with_integer_labels(value, label).mean() * (1.0 if name == "logits" else 0.3)
        for name, value in sorted(logits.items())
    ]
    return sum(terms)


def torch_losses(logits: dict[str, Any], label: Any) -> Any:
    """The same in torch."""
    terms = [
        torch.nn.functional.cross_entropy(value, torch.from_numpy(np.asarray(label)).long())
        * (1.0 if name == "logits" else 0.3)
        for name, value in sorted(logits.items())
    ]
    return sum(terms)


def training_errors(pair: Pair, steps: int = 3) -> dict[str, float]:
    """Errors of training: logits, updated running statistics and gradients of the first step, parameters after all.

    Gradients and steps are compared as whole vectors, length of the difference over length of the original's, and
    the three steps by what they changed, not by where they ended.
    """
    original = pair.original.train()
    before = pair.variables()
    counts: dict[str, int] = {}
    hooks = [
        module.register_forward_hook(lambda _, inputs, __, name=name: counts.update({name: inputs[0][:, 0].numel()}))
        for name, module in original.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
    ]
    optimizer = torch.optim.SGD(original.parameters(), LEARNING_RATE, momentum=MOMENTUM)
    tx = optax.sgd(LEARNING_RATE, momentum=MOMENTUM)
    rng = np.random.default_rng(1)
    errors: dict[str, float] = {}

    @jax.jit
    def step(variables: Any, opt_state: Any, images: Any, label: Any) -> Any:
        def loss_of(params: Any) -> Any:
            outputs, updates = pair.ours.apply(
                variables | {"params": params}, images, train=True, features=True, mutable=["batch_stats"]
            )
            logits = {name: value for name, value in outputs.items() if name == "logits" or name.startswith("aux")}
            return losses(logits, label), (logits, updates)

        gradients, (logits, updates) = jax.grad(loss_of, has_aux=True)(variables["params"])
        changes, opt_state = tx.update(gradients, opt_state)
        params = optax.apply_updates(variables["params"], changes)
        return {"params": params, **updates}, opt_state, gradients, logits

    variables, opt_state = before, tx.init(before["params"])
    for index in range(steps):
        original_logits = pair.logits_of(original(pair.torch_images()))
        shape = original_logits["logits"].shape
        label = rng.integers(shape[1], size=(shape[0], *shape[2:]))
        optimizer.zero_grad()
        torch_losses(original_logits, label).backward()
        gradients = {name: p.grad.clone() for name, p in original.named_parameters()}
        optimizer.step()
        variables, opt_state, our_gradients, our_logits = step(variables, opt_state, pair.images, label)
        if index == 0:
            assert set(our_logits) == set(original_logits)
            errors["training logits"] = max(
                relative_error(our_logits[name], channels_last(original_logits[name])) for name in our_logits
            )
            theirs = pair.variables(gradients, ["params"])["params"]
            errors["gradient"] = vector_error(our_gradients, theirs)
            if "batch_stats" in variables:
                errors["running statistics"] = statistics_error(pair, before, variables, counts)
    for hook in hooks:
        hook.remove()
    after = pair.variables()
    moved = jax.tree.map(jnp.subtract, after["params"], before["params"])
    ours_moved = jax.tree.map(jnp.subtract, variables["params"], before["params"])
    errors["three steps"] = vector_error(ours_moved, moved)
    return errors


def vector_error(ours: Any, original: Any) -> float:
    """Length of the difference of two trees over the length of the second."""
    difference = jax.tree.map(jnp.subtract, ours, original)
    return float(optax.tree.norm(difference) / optax.tree.norm(original))


def statistics_error(pair: Pair, before: Any, after: Any, counts: dict[str, int]) -> float:
    """Largest relative error of a layer's updated running mean or (unbiased) variance."""
    theirs = traverse_util.flatten_dict(pair.variables()["batch_stats"])
    old = traverse_util.flatten_dict(before["batch_stats"])
    worst = 0.0
    for path, value in traverse_util.flatten_dict(after["batch_stats"]).items():
        if path[-1] == "var":
            n = counts[pair.torch_name(("batch_stats", *path)).removesuffix(".running_var")]
            kept = MOMENTUM * old[path]
            value = kept + (value - kept) * n / (n - 1)
        worst = max(worst, relative_error(value, theirs[path]))
    return worst
