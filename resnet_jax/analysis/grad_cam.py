"""Grad-CAM: the image regions that raise a class's logit (Selvaraju et al. 2017, arXiv:1610.02391).

The features of the last stage still have positions. Each channel is weighted by the gradient of the class's logit with
respect to it, averaged over positions; the weighted sum is cut off at zero.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.extend.core import ClosedJaxpr, Literal, Var

from resnet_jax.analysis.capture import Array
from resnet_jax.errors import InputError
from resnet_jax.layers.pooling import resize_bilinear
from resnet_jax.models.resnet.scan import unrolled


@dataclass(frozen=True)
class GradCam:
    """Grad-CAM maps for one class in each image.

    Attributes:
        maps: float32 [B,H,W] in [0, 1]: 1 at the position with the largest value; all zeros where no position raises
            the logit.
        classes: int [B].
        probabilities: float32 [B], of the classes.
    """

    maps: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray


def grad_cam(
    model: nn.Module, variables: Any, images: np.ndarray, classes: np.ndarray | None = None, *, stage: str = ""
) -> GradCam:
    """Compute Grad-CAM maps of images, at the images' own size.

    Args:
        model: a classifier with `features=True`.
        variables: its variables, trained.
        images: float32 [B,H,W,3], normalized.
        classes: int [B], the class of each map; None is each image's most probable class.
        stage: the features that are weighted, such as "stage3"; "" is the last stage.

    Raises:
        InputError: the network has no such stage.
    """
    height, width = images.shape[1:3]

    @jax.jit
    def logits_of(variables: Any, images: jax.Array) -> jax.Array:
        logits: Any = unrolled(model).apply(variables, images, train=False)
        return logits

    @jax.jit
    def maps_of(variables: Any, images: jax.Array, classes: jax.Array) -> jax.Array:
        values, weights = features_and_gradients(model, variables, images, classes, stage)
        map_ = nn.relu((values * weights.mean(axis=(1, 2), keepdims=True)).sum(axis=-1, keepdims=True))
        return resize_bilinear(map_, height, width)[..., 0]

    logits = logits_of(variables, images)
    chosen = np.asarray(logits.argmax(axis=-1) if classes is None else classes)
    maps = np.asarray(maps_of(variables, images, chosen))
    largest = maps.max(axis=(1, 2), keepdims=True)
    probabilities = np.take_along_axis(np.asarray(jax.nn.softmax(logits)), chosen[:, None], axis=1)[:, 0]
    return GradCam(maps / np.where(largest > 0, largest, 1), chosen, probabilities)


def features_and_gradients(
    model: nn.Module, variables: Any, images: Array, classes: Array, stage: str = ""
) -> tuple[jax.Array, jax.Array]:
    """Return a stage's features and the gradient of a class's logit with respect to them, float32 [B,h,w,C] each.

    Raises:
        InputError: the network has no such stage.
    """

    def forward(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs: Any = unrolled(model).apply(variables, images, train=False, features=True)
        name = stage or max((key for key in outputs if key.startswith("stage")), default="")
        if name not in outputs:
            raise InputError(f"stage={stage!r}: {type(model).__name__} has {', '.join(outputs)}")
        return outputs[name], outputs["logits"]

    program = jax.make_jaxpr(forward)(variables, images)
    inputs = jax.tree.leaves((variables, images))
    shape = program.out_avals[0]

    def logit(change: jax.Array) -> tuple[jax.Array, jax.Array]:
        values, logits = _run_with_change(program, inputs, change)
        return jnp.take_along_axis(logits, classes[:, None], axis=-1).sum(), values

    # The least change above zero, lost in the rounding of every other value. Where a stage is zero, a second ReLU (the
    # one before ResNet's head) would stop the gradient; published networks have none there and let it through.
    least = jnp.full(shape.shape, jnp.finfo(shape.dtype).tiny, shape.dtype)
    gradients, values = jax.grad(logit, has_aux=True)(least)
    return values.astype(jnp.float32), gradients.astype(jnp.float32)


def _run_with_change(program: ClosedJaxpr, inputs: list[Any], change: jax.Array) -> list[jax.Array]:
    """Run a traced program with `change` added to its first output where that is computed, and return all outputs.

    This makes the rest of any network a function of one stage, whatever modules it consists of.
    """
    jaxpr = program.jaxpr
    target = jaxpr.outvars[0]
    known: dict[Var, Any] = dict(zip(jaxpr.constvars, program.consts, strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        parameters = equation.primitive.get_bind_params(equation.params)
        result = equation.primitive.bind(*map(value, equation.invars), **parameters)
        results = result if equation.primitive.multiple_results else [result]
        for variable, result in zip(equation.outvars, results, strict=True):
            known[variable] = result + change if variable is target else result
    return [value(atom) for atom in jaxpr.outvars]
