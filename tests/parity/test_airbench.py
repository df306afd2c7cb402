"""The airbench networks equal theirs, written out in torch from the paper (Jordan 2024, arXiv:2404.00498)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import traverse_util

from resnet_jax.layers.whitening import whitening_kernel
from resnet_jax.models.airbench import gelu, partial_identity
from resnet_jax.models.registry import create_model
from resnet_jax.weights.torch_layout import to_torch, torch_name
from tests.parity.conftest import COMPARED
from tests.parity.originals import torch
from tests.parity.reference import QUICK_COMPILATION, channels_last, largest_error, relative_error, vector_error
from tests.weights.reading import from_torch

functional = torch.nn.functional

WIDTHS = {
    "airbench94_cifar": (64, 256, 256),
    "airbench95_cifar": (128, 384, 384),
    "airbench96_cifar": (128, 384, 512),
}
TOYS = {"airbench94_cifar": (32, 40, 48), "airbench96_cifar": (32, 40, 48)}


class Original(torch.nn.Module):
    """The network for 94 and 95 %, or with `residual` the one for 96 %."""

    def __init__(self, widths: tuple[int, ...], residual: bool, kept: float):
        super().__init__()
        self.residual = residual
        self.stem_conv = torch.nn.Conv2d(3, 24, 2)
        self.stem_conv.weight.requires_grad = False
        channels = 24
        for stage, width in enumerate(widths, start=1):
            for index in range(1, 4 if residual else 3):
                conv = torch.nn.Conv2d(channels, width, 3, padding=1, bias=False)
                norm = torch.nn.BatchNorm2d(width, eps=1e-12, momentum=1 - kept)
                norm.weight.requires_grad = False
                self.add_module(f"stage{stage}_conv{index}", conv)
                self.add_module(f"stage{stage}_norm{index}", norm)
                channels = width
        self.head = torch.nn.Linear(channels, 10, bias=False)

    def forward(self, images: Any) -> dict[str, Any]:
        x = functional.gelu(self.stem_conv(images))
        outputs = {"stem": x}
        for stage in (1, 2, 3):
            conv = [self.get_submodule(f"stage{stage}_conv{i}") for i in range(1, 4 if self.residual else 3)]
            norm = [self.get_submodule(f"stage{stage}_norm{i}") for i in range(1, 4 if self.residual else 3)]
            x = functional.gelu(norm[0](functional.max_pool2d(conv[0](x), 2)))
            y = norm[1](conv[1](x))
            if self.residual:
                y = x + norm[2](conv[2](functional.gelu(y)))
            x = outputs[f"stage{stage}"] = functional.gelu(y)
        outputs["pooled"] = functional.max_pool2d(x, 3).flatten(1)
        outputs["logits"] = self.head(outputs["pooled"]) / 9
        return outputs


RULES = [(r"^(stage\d)/", r"\1_")]


def pair(name: str, widths: tuple[int, ...]) -> tuple[Any, Any, Any, Any]:
    """(ours, its variables, torch's, images [8,32,32,3]) with equal random weights and statistics."""
    ours = create_model(name, widths=widths)
    kept = 0.9 if name == "airbench96_cifar" else 0.6
    original = Original(widths, name == "airbench96_cifar", kept)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in original.state_dict().items():
            if key.endswith("running_var"):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif key.endswith(("bias", "running_mean")):
                tensor.normal_(0.0, 0.1, generator=generator)
    images = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype(np.float32)
    shapes = jax.eval_shape(lambda: ours.init(jax.random.key(0), jnp.asarray(images)))
    return ours, variables_of(original, shapes), original, images


def variables_of(original: Any, shapes: Any) -> Any:
    """Torch's weights as our variables. Its normalizations' scales stay 1, and ours have none."""
    tensors = {key: tensor.numpy().copy() for key, tensor in original.state_dict().items()}
    scales = [key for key in tensors if "norm" in key and key.endswith("weight")]
    assert all((tensors.pop(key) == 1).all() for key in scales)
    return from_torch(tensors, shapes, RULES)


def torch_images(images: np.ndarray) -> Any:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


@pytest.mark.parametrize("name", WIDTHS)
def test_evaluation(name):
    ours, variables, original, images = pair(name, WIDTHS[name])
    with torch.no_grad():
        expected = original.eval()(torch_images(images))
    apply = jax.jit(partial(ours.apply, features=True), compiler_options=QUICK_COMPILATION)
    outputs = apply(variables, images)
    assert set(outputs) == set(expected)
    errors = {key: relative_error(outputs[key], channels_last(value)) for key, value in expected.items()}
    assert max(errors.values()) < 1e-4, errors
    COMPARED["logits"].add(name)
    COMPARED["stages"].add(name)


@pytest.mark.parametrize("name", TOYS)
def test_training(name):
    """Torch in float64; the tolerances are those of float32 without a maximum that rounding decides otherwise."""
    ours, variables, original, images = pair(name, TOYS[name])
    labels = np.arange(8)

    original = original.double().train()
    counts: dict[str, int] = {}
    for key, module in original.named_modules():
        if "norm" in key:
            module.register_forward_hook(lambda _, x, __, key=key: counts.update({key: x[0][:, 0].numel()}))
    logits = original(torch_images(images).double())["logits"]
    functional.cross_entropy(logits, torch.from_numpy(labels), label_smoothing=0.2).backward()
    gradient = {key: p.grad.numpy() for key, p in original.named_parameters() if p.requires_grad}

    @partial(jax.jit, compiler_options=QUICK_COMPILATION)
    def step(params: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, updates = ours.apply(variables | {"params": params}, images, train=True, mutable=["batch_stats"])
            target = optax.smooth_labels(jax.nn.one_hot(labels, 10), 0.2)
            return optax.softmax_cross_entropy(logits, target).mean(), (logits, updates)

        return jax.grad(loss, has_aux=True)(params)

    our_gradient, (our_logits, updates) = step(variables["params"])
    assert relative_error(our_logits, logits.detach().numpy()) < 1e-4
    # Every parameter has a gradient in both, and the kernel of the whitening in neither.
    assert vector_error(to_torch({"params": our_gradient}, RULES), gradient) < 1e-4
    expected = biased(variables, variables_of(original, jax.eval_shape(lambda: variables)), counts, ours.norm_momentum)
    assert largest_error(updates["batch_stats"], expected) < 1e-4
    COMPARED["training mode"].add(name)


def biased(before: Any, after: Any, counts: dict[str, int], kept: float) -> Any:
    """Torch's statistics after a step, with the batch's biased variance in place of the unbiased: (n - 1) / n of it."""
    old: dict[tuple, Any] = traverse_util.flatten_dict(before["batch_stats"])
    new: dict[tuple, Any] = traverse_util.flatten_dict(after["batch_stats"])
    for path in [path for path in new if path[-1] == "var"]:
        n = counts[torch_name(("batch_stats", *path), RULES).removesuffix(".running_var")]
        new[path] = kept * old[path] + (new[path] - kept * old[path]) * (n - 1) / n
    return traverse_util.unflatten_dict(new)


def test_the_whitening_kernel_is_torch_s_up_to_signs():
    rng = np.random.default_rng(0)
    images = (rng.normal(size=(50, 8, 8, 3)) @ rng.normal(size=(3, 3))).astype(np.float32)
    images[:, 1:] += 0.5 * images[:, :-1]
    images[:, :, 1:] += 0.3 * images[:, :, :-1]
    eps = 5e-4
    patches = functional.unfold(torch_images(images).double(), 2).transpose(1, 2).reshape(-1, 12)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    assert (values[1:] / values[:-1]).min() > 1.01  # of equal eigenvalues any basis would do
    expected = (vectors / torch.sqrt(values + eps)).flip(1).T.reshape(12, 3, 2, 2).permute(2, 3, 1, 0).numpy()
    kernel = whitening_kernel(images, eps)
    signs = np.sign((kernel[..., :12] * expected).sum(axis=(0, 1, 2)))
    np.testing.assert_allclose(kernel[..., :12] * signs, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(kernel[..., 12:] * signs, -expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 3, 24, 64), (3, 3, 64, 64), (3, 3, 8, 4)])
def test_convolutions_start_as_torch_s(shape):
    _, _, inputs, filters = shape
    conv = torch.nn.Conv2d(inputs, filters, 3, bias=False)
    torch.nn.init.dirac_(conv.weight.data[:inputs])
    expected = conv.weight.detach().numpy().transpose(2, 3, 1, 0)
    kernel = np.asarray(partial_identity(jax.random.key(0), shape))
    np.testing.assert_array_equal(kernel[..., :inputs], expected[..., :inputs])
    if filters > inputs:
        ours, theirs = kernel[..., inputs:], expected[..., inputs:]
        np.testing.assert_allclose(ours.std(), theirs.std(), rtol=0.03)
        np.testing.assert_allclose(np.abs(ours).max(), np.abs(theirs).max(), rtol=0.01)


def test_gelu_is_torch_s():
    x = np.linspace(-6, 6, 101, dtype=np.float32)
    np.testing.assert_allclose(gelu(x), functional.gelu(torch.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "count"), [("airbench94_cifar", 1_972_792), ("airbench96_cifar", 9_918_776)])
def test_torch_counts_what_is_not_trained(name, count):
    original = Original(WIDTHS[name], name == "airbench96_cifar", 0.6)
    assert sum(p.numel() for p in original.parameters()) == count
