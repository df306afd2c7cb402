"""Options of a training on pictures with masks."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SegmentationOptions:
    """Masks."""

    colors: str = ""
    """File that names the classes, one a line: R G B NAME, or VALUE NAME

    The names void, ignore and unlabeled are of pixels that do not count. Empty: every value of the training masks is a
    class; two values are one class and the rest.
    """
    void_value: int = 255
    """Value of pixels that do not count, in masks without colors"""
    crop_size: tuple[int, ...] = ()
    """Height and width of training crops. Empty: --image_size, or at 0 whole pictures"""
    scale: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest factor by which a picture is resized before the crop"""
    rotate: float = 0.0
    """Largest rotation of picture and mask, degrees"""
    threshold: float = 0.5
    """Probability above which a pixel has a class, where classes may overlap"""
    skips: str = ""
    """Skips of a U-Net: stages are appended (concat), added (add) or left out (none). Empty: concat"""
    output_stride: int = 0
    """Stride of the last stage of an encoder, 8, 16 or 32. 0: the network's own"""
