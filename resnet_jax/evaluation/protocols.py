"""The protocols of evaluation: which passes over a set a network makes, and what it is shown of every image in each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from resnet_jax.data import pipeline
from resnet_jax.data.augment.host import resize_and_five_crops
from resnet_jax.data.build import build_eval_loader, normalizer, preprocessing
from resnet_jax.data.loader import Loader, processes, worker_count
from resnet_jax.data.shape_buckets import Shape, image_sizes, shaped_batches, whole_images
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
    trained: Trained, protocol: Protocol, source: Source, scales: Sequence[int], batch_size: int, mesh: Mesh
) -> list[Pass]:
    """The passes of a network over a set, whose scores are to be averaged.

    Args:
        trained: the network.
        protocol: "" is its config's own views.
        source: the set; for multi_scale in its own size.
        scales: shorter sides of multi_scale.
        batch_size: images at once, crops and mirror images included, of the network's size.
        mesh: the devices.

    Raises:
        InputError: there is no such protocol or scale, the network cannot take whole images, or one is unreadable.
    """
    views = protocol or trained.config.eval_views
    if views in VIEWS:
        loader = build_eval_loader(source, trained.config, trained.image_size, mesh)
        return [Pass(loader, build_apply(trained.model, views))]
    if views == "ten_crop":
        loader = crops_loader(source, trained, batch_size, mesh)
        return [Pass(loader, partial(of_crops_and_mirror_images, plain(trained)))]
    if views != "multi_scale":
        known = ", ".join([*VIEWS, "ten_crop", "multi_scale"])
        raise InputError(f"--protocol={views}: there is no such protocol; known are {known}")
    check_scales(trained, scales)
    sizes = image_sizes(source, worker_count(trained.config.num_workers))
    feeds = [whole_images_loader(source, sizes, scale, trained, batch_size, mesh) for scale in scales]
    return [Pass(loader, partial(of_mirror_images, plain(trained))) for loader in feeds]


def plain(trained: Trained) -> Apply:
    """The network as it is: (variables, images [B,H,W,3]) -> logits [B,K]."""
    return build_apply(trained.model, "center")


def crops_loader(source: Source, trained: Trained, batch_size: int, mesh: Mesh) -> Loader:
    """Batches of five crops of each image, {"image" float32 [B,5,size,size,3], …}; with mirror images they are ten."""
    config, size = trained.config, trained.image_size
    seen = preprocessing(config, size)
    if isinstance(source, ArraySource) and seen.resize <= size:  # square images, all of one size
        raise InputError(
            f"--protocol=ten_crop: images resized to {seen.resize} pixels have no corners beside a crop of {size}; "
            f"take --resize={round(size / 0.875)}, or --protocol=flip"
        )
    transform = partial(resize_and_five_crops, size=size, resize=seen.resize, interpolation=seen.interpolation)
    devices = mesh.devices.size
    rows = -(-batch_size // (10 * devices)) * devices
    workers = worker_count(config.num_workers)

    def batches() -> Iterator[dict[str, Any]]:
        host = pipeline.eval_batches(source, transform, batch_size=rows, num_workers=workers, **processes())
        return pipeline.to_device(host, sharded(mesh))

    normalize = normalizer(config)

    def prepare(batch: dict[str, Any]) -> dict[str, Any]:
        crops = batch["image"]
        flat = normalize({"image": crops.reshape(-1, *crops.shape[2:])})["image"]
        return {**batch, "image": flat.reshape(crops.shape)}

    return Loader(batches, prepare)


def whole_images_loader(
    source: Source, sizes: Any, short: int, trained: Trained, batch_size: int, mesh: Mesh
) -> Loader:
    """Batches of whole images with a shorter side of `short`; the larger they are, the fewer at once."""
    config = trained.config
    pixels = batch_size * trained.image_size**2

    def rows_of(shape: Shape) -> int:
        return pixels // (2 * shape[0] * shape[1])

    plan = shaped_batches(sizes, short, rows_of, mesh.devices.size)
    workers = worker_count(config.num_workers)

    def batches() -> Iterator[dict[str, Any]]:
        host = whole_images(source, plan, interpolation=config.interpolation, num_workers=workers, **processes())
        return pipeline.to_device(host, sharded(mesh))

    return Loader(batches, normalizer(config))


def check_scales(trained: Trained, scales: Sequence[int]) -> None:
    """Refuse scales of which an image cannot be, and a network that takes images of one size alone.

    Raises:
        InputError: see above.
    """
    listed = " ".join(map(str, scales))
    if not scales or min(scales) < 1 or len(set(scales)) < len(scales):
        raise InputError(f"--scales {listed}: name one shorter side or more, in pixels, each once")
    for scale in (min(scales), max(scales)):
        image = jax.ShapeDtypeStruct((1, scale, 2 * scale, 3), jnp.float32)
        try:
            jax.eval_shape(plain(trained), trained.variables, image)
        except Exception as error:  # flax, jax and the networks each raise their own
            raise InputError(
                f"--protocol=multi_scale: {trained.config.model} does not take images of {scale} x {2 * scale} pixels "
                f"({str(error).splitlines()[0]}); take --protocol=ten_crop, or other --scales"
            ) from error
