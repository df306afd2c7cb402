"""Protocols of evaluation: the passes of a network over a set, and the views of every image in each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from resnet_jax.data import pipeline
from resnet_jax.data.augment.host import resize_and_five_crops
from resnet_jax.data.loader import Loader, eval_loader, planned_loader, process_share, worker_count
from resnet_jax.data.shape_buckets import Shape, image_sizes, shaped_batches, whole_shape
from resnet_jax.data.sources.source import ArraySource, Source
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.tta import VIEWS, Apply, build_apply, of_crops_and_mirror_images, of_mirror_images
from resnet_jax.runtime.sharding import sharded

Protocol = Literal["", "center", "flip", "flip_translate", "ten_crop", "multi_scale"]


@dataclass(frozen=True)
class Pass:
    """One pass over a set, with every example once.

    Attributes:
        loader: its batches.
        apply: (variables, prepared images) -> logits [B,K].
    """

    loader: Loader
    apply: Apply


def build_passes(
    trained: Trained,
    protocol: Protocol,
    source: Source,
    *,
    scales: Sequence[int],
    batch_size: int,
    num_workers: int,
    mesh: Mesh,
) -> list[Pass]:
    """Return the passes of a network over a set, whose scores are to be averaged.

    Args:
        trained: the network.
        protocol: "" for the network's own views.
        source: the set; for multi_scale in its own size.
        scales: shorter sides of multi_scale, pixels.
        batch_size: images at once, crops and mirror images included, of the network's size.
        num_workers: processes that decode, as in `Config`.
        mesh: the devices.

    Raises:
        InputError: there is no such protocol or scale, the network cannot take whole images, or one is unreadable.
    """
    views = protocol or trained.views
    if views in VIEWS:
        loader = eval_loader(source, trained.preprocessing, batch_size=batch_size, num_workers=num_workers, mesh=mesh)
        return [Pass(loader, build_apply(trained.model, views))]
    workers = worker_count(num_workers, len(source))
    network = build_apply(trained.model, "center")
    if views == "ten_crop":
        loader = five_crops_loader(source, trained, batch_size, workers, mesh)
        return [Pass(loader, partial(of_crops_and_mirror_images, network))]
    if views != "multi_scale":
        known = ", ".join([*VIEWS, "ten_crop", "multi_scale"])
        raise InputError(f"--protocol={views}: there is no such protocol; known are {known}")
    check_scales(trained, scales)
    sizes = image_sizes(source, workers)
    loaders = [whole_images_loader(source, sizes, scale, trained, batch_size, workers, mesh) for scale in scales]
    return [Pass(loader, partial(of_mirror_images, network)) for loader in loaders]


def five_crops_loader(source: Source, trained: Trained, batch_size: int, workers: int, mesh: Mesh) -> Loader:
    """Return batches {"image" float32 [B,5,size,size,3], …}: corners and center, which mirror images make ten crops.

    Raises:
        InputError: images of one size that leave no corners beside the crop.
    """
    seen = trained.preprocessing
    if isinstance(source, ArraySource) and seen.resize <= seen.image_size:  # square images, all of one size
        raise InputError(
            f"--protocol=ten_crop: images resized to {seen.resize} pixels have no corners beside a crop of "
            f"{seen.image_size}; take --resize={round(seen.image_size / 0.875)}, or --protocol=flip"
        )
    crops = partial(resize_and_five_crops, size=seen.image_size, resize=seen.resize, interpolation=seen.interpolation)
    devices = mesh.devices.size
    rows = -(-batch_size // (10 * devices)) * devices

    def batches() -> Iterator[dict[str, Any]]:
        host = pipeline.eval_batches(source, crops, batch_size=rows, num_workers=workers, **process_share())
        return pipeline.to_device(host, sharded(mesh))

    def prepare(batch: dict[str, Any]) -> dict[str, Any]:
        images = batch["image"]
        flat = seen.normalize({"image": images.reshape(-1, *images.shape[2:])})["image"]
        return {**batch, "image": flat.reshape(images.shape)}

    return Loader(batches, prepare)


def whole_images_loader(
    source: Source, sizes: Any, short: int, trained: Trained, batch_size: int, workers: int, mesh: Mesh
) -> Loader:
    """Return batches of whole images with a shorter side of `short`; the larger they are, the fewer at once."""
    seen = trained.preprocessing
    pixels = batch_size * seen.image_size**2

    def rows_of(shape: Shape) -> int:
        return pixels // (2 * shape[0] * shape[1])

    plan = shaped_batches(sizes, partial(whole_shape, short=short), rows_of, mesh.devices.size)
    return planned_loader(source, plan, seen, num_workers=workers, mesh=mesh)


def check_scales(trained: Trained, scales: Sequence[int]) -> None:
    """Refuse scales that no image can have, and a network that takes images of one size alone.

    Raises:
        InputError: see above.
    """
    listed = " ".join(map(str, scales))
    if not scales or min(scales) < 1 or len(set(scales)) < len(scales):
        raise InputError(f"--scales {listed}: name one shorter side or more, in pixels, each once")
    for scale in (min(scales), max(scales)):
        image = jax.ShapeDtypeStruct((1, scale, 2 * scale, 3), jnp.float32)
        try:
            jax.eval_shape(build_apply(trained.model, "center"), trained.variables, image)
        except Exception as error:  # flax, jax and the networks each raise their own
            raise InputError(
                f"--protocol=multi_scale: {trained.name} does not take images of {scale} x {2 * scale} pixels "
                f"({str(error).splitlines()[0]}); take --protocol=ten_crop, or other --scales"
            ) from error
