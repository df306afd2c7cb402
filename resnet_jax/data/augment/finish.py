"""The end of a training batch's way, on the device: normalization, erased rectangles, mixed examples."""

from typing import Any, Literal

import jax

from resnet_jax.data.augment import device
from resnet_jax.data.augment.erasing import cutout, random_erasing
from resnet_jax.data.augment.mixing import mix
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.runtime.batch import Batch

# Folded into the run's key before the step is, so that mixing draws other numbers than the network's dropout.
MIX = 0x6D6978


def batch_keys(key: jax.Array, batch: Batch) -> jax.Array:
    """Return the keys [B] of a training batch's examples, of the run's key."""
    return device.example_keys(key, batch["epoch"], batch["index"], batch["view"])


def finish_batch(
    batch: Batch,
    key: jax.Array,
    step: Any,
    *,
    preprocessing: Preprocessing,
    num_classes: int,
    alternating: bool = False,
    erase: float = 0.0,
    erase_fill: Literal["zero", "noise"] = "zero",
    cutout_size: int = 0,
    mixup: float = 0.0,
    cutmix: float = 0.0,
    mix_probability: float = 1.0,
) -> Batch:
    """Finish a training batch after crops and operations on single images.

    Alternating flips, normalization, then erased rectangles (zero is the mean by now), then mixing of examples.

    Args:
        batch: with uint8 images.
        key: the run's.
        step: steps done.
        preprocessing: of the network.
        num_classes: K.
        alternating: mirror each image in every other epoch.
        erase: probability of erasing a random rectangle.
        erase_fill: of it.
        cutout_size: side of the square erased in every image, pixels; 0: none.
        mixup: alpha; 0: off.
        cutmix: alpha; 0: off.
        mix_probability: part of the batches that are mixed.
    """
    keys = batch_keys(key, batch)
    if alternating:
        batch = device.alternating_flip(batch, key)
    batch = preprocessing.normalize(batch)
    if erase:
        batch = random_erasing(batch, keys, erase, fill=erase_fill)
    if cutout_size:
        batch = cutout(batch, keys, cutout_size)
    if mixup or cutmix:
        batch = mix(
            batch,
            jax.random.fold_in(jax.random.fold_in(key, MIX), step),
            num_classes=num_classes,
            mixup_alpha=mixup,
            cutmix_alpha=cutmix,
            probability=mix_probability,
        )
    return batch
