"""From a config to the sizes of its images: in evaluation, at the end of a training, and in each of its steps."""

from resnet_jax.config.options import Config, progressive_sizes
from resnet_jax.data.resolution import FixedSize, ProgressiveSize
from resnet_jax.data.sources.source import ArraySource, Source
from resnet_jax.errors import InputError


def image_size_of(source: Source, config: Config) -> int:
    """Return pixels a side of the network's input.

    Raises:
        InputError: photographs, which come in all sizes, and no --image_size.
    """
    if config.image_size:
        return config.image_size
    if isinstance(source, ArraySource):
        return source.images.shape[1]
    raise InputError(f"--image_size=0: the images of --dataset={config.dataset} have no common size; name one")


def last_size(source: Source, config: Config) -> int:
    """Return pixels a side at the end of a training, whose images may grow: the size the parameters were left with."""
    sizes = progressive_sizes(config.progressive)
    return sizes[1] if sizes else image_size_of(source, config)


def build_sizes(config: Config, image_size: int, num_train: int) -> FixedSize | ProgressiveSize:
    """Return the function from a step to pixels a side of its images, for a training set of `num_train` examples."""
    sizes = progressive_sizes(config.progressive)
    if sizes is None:
        return FixedSize(image_size)
    steps_per_epoch = num_train / config.batch_size
    # Not from a whole number of steps: half-way between two sizes a thousandth of an epoch would decide.
    epochs = config.steps / steps_per_epoch if config.steps else config.epochs
    start, stop = (round(fraction * epochs, 6) for fraction in config.progressive_ramp)
    return ProgressiveSize(*sizes, start=start, stop=stop, steps_per_epoch=steps_per_epoch)
