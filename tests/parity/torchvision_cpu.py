"""Lets torchvision be imported beside a CPU build of torch.

Torchvision's wheel has compiled operators that only load beside the CUDA build it was made for, and its import fails
on the first that is not even declared. Networks use none of them, so declarations will do.
"""

from typing import Any

OPERATORS = (
    "nms",
    "qnms",
    "roi_align",
    "_roi_align_backward",
    "ps_roi_align",
    "_ps_roi_align_backward",
    "roi_pool",
    "_roi_pool_backward",
    "ps_roi_pool",
    "_ps_roi_pool_backward",
    "deform_conv2d",
    "_deform_conv2d_backward",
)


def declare(torch: Any) -> Any:
    """Declare the operators; they last as long as what is returned."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in OPERATORS:
        library.define(f"{name}(Tensor x) -> Tensor")
    return library
