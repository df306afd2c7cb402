"""Where a window fits on an image: what a convolution and a pooling leave of its height and width."""

from collections.abc import Sequence

from resnet_jax.errors import InputError

Pads = tuple[tuple[int, int], tuple[int, int]]


def output_size(image: Sequence[int], window: int, strides: int, pads: Pads) -> tuple[int, int]:
    """Return how many places a window has on an image, from top to bottom and from left to right.

    Args:
        image: height and width; of a program for any size, unknown ones, which are not checked.
        window: its side, in pixels.
        strides: pixels from one place to the next.
        pads: pixels added before and behind the rows, and the columns.

    Raises:
        InputError: it has none: the image is too small.
    """
    rows, columns = ((n + sum(pad) - window) // strides + 1 for n, pad in zip(image, pads, strict=True))
    if any(isinstance(places, int) and places < 1 for places in (rows, columns)):
        raise InputError(
            f"the images are too small for this network: one of its windows of {window}x{window} pixels finds "
            f"{image[0]}x{image[1]} left; take larger ones (--image_size)"
        )
    return rows, columns
