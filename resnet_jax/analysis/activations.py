"""Layer responses and feature maps of a trained network: figure 7 of He et al. 2015 (arXiv:1512.03385).

A response is the output of a convolution after its normalization, before a ReLU or an addition. The paper finds that
residual networks respond more weakly than their plain counterparts, and the more weakly the deeper they are: each
block changes the signal a little. Responses are largest where the shape changes.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from resnet_jax.analysis.capture import Array, apply_watched, is_main_conv, is_norm, name_of
from resnet_jax.analysis.map_batches import map_batches
from resnet_jax.models.resnet.scan import unrolled


def layer_responses(model: nn.Module, variables: Any, images: Array, *, train: bool = False) -> dict[str, jax.Array]:
    """Return the response [B,h,w,C] of every convolution of the main path, from the image on; call it inside jit.

    The response is the output of the normalization that reads the convolution's output, or that output itself where
    none does (the last convolution of a pre-activation block, highway networks).

    Args:
        model: any network.
        variables: its variables.
        images: float32 [B,H,W,3], normalized.
        train: normalize by the batch instead of the running statistics.
    """
    responses: dict[str, jax.Array] = {}
    raw: dict[str, jax.Array] = {}

    def watch(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if is_main_conv(module):
            responses[name_of(module)] = raw[name_of(module)] = output
        elif is_norm(module):
            for name in raw:
                if raw[name] is args[0]:
                    responses[name] = output

    settings: dict[str, Any] = {"mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(0)}} if train else {}
    apply_watched(model, variables, images, watch, train=train, **settings)
    return responses


def response_std(model: nn.Module, variables: Any, images: np.ndarray, *, batch_size: int = 250) -> dict[str, float]:
    """Return the standard deviation of every layer's responses over all images, positions and channels, in evaluation.

    Args:
        model: any network.
        variables: its variables.
        images: float32 [N,H,W,3], normalized.
        batch_size: images computed at once.

    Returns:
        Standard deviations by the layer's name, the layer nearest to the image first.
    """
    names: list[str] = []

    @jax.jit
    def moments(variables: Any, images: jax.Array) -> jax.Array:
        responses = layer_responses(model, variables, images)
        names[:] = responses
        values = [r.astype(jnp.float32).reshape(len(images), -1) for r in responses.values()]
        return jnp.stack([jnp.stack([v.mean(1), jnp.square(v).mean(1)], axis=-1) for v in values], axis=1)

    mean, square = map_batches(partial(moments, variables), batch_size, images).astype(np.float64).mean(axis=0).T
    return dict(zip(names, np.sqrt(np.maximum(square - mean**2, 0)).tolist(), strict=True))


def feature_maps(model: nn.Module, variables: Any, image: np.ndarray, *, channels: int = 7) -> dict[str, np.ndarray]:
    """Return the N channels with the largest mean of the stem's and every stage's features of one image.

    Args:
        model: a network with `features=True`.
        variables: its variables.
        image: float32 [H,W,3], normalized.
        channels: N; fewer where a stage has fewer.

    Returns:
        float32 [N,h,w] for "stem", "stage1", …
    """
    outputs: Any = jax.jit(lambda v, x: unrolled(model).apply(v, x, train=False, features=True))(variables, image[None])

    def strongest(values: np.ndarray) -> np.ndarray:
        order = np.argsort(-values.mean(axis=(0, 1)), kind="stable")[:channels]
        return values.transpose(2, 0, 1)[order]

    # A jitted function returns a dict by the order of its keys: "logits" and "pooled" before the stages.
    names = ("stem", *sorted(name for name in outputs if name.startswith("stage")))
    return {name: strongest(np.asarray(outputs[name][0], np.float32)) for name in names}
