"""VGG, as torchvision lays it out: modules are numbered consecutively, so that each depth has rules of its own."""

import re
from collections.abc import Sequence

from resnet_jax.models.vgg import GROUPS, SIZES
from resnet_jax.weights.torch_layout import Rules


def rules(sizes: Sequence[int], batch_norm: bool) -> Rules:
    """Return the rules of the network with `sizes` convolutions at each resolution."""
    per_conv = 3 if batch_norm else 2  # a convolution, its normalization if any, a ReLU

    def number(match: re.Match[str]) -> str:
        group = GROUPS.index(match["group"])
        before = sum(per_conv * size + 1 for size in sizes[:group])  # every group ends with a pooling
        return f"features.{before + per_conv * (int(match['index']) - 1) + (match['kind'] == 'norm')}"

    return [
        (r"^(?P<group>[a-z]+\d*)_(?P<kind>conv|norm)(?P<index>\d+)$", number),
        (r"^head/dense(\d)$", lambda m: f"classifier.{3 * int(m[1]) - 3}"),
    ]


RULES = {
    f"vgg{depth}{suffix}": rules(sizes, batch_norm=bool(suffix))
    for depth, sizes in SIZES.items()
    for suffix in ("", "_bn")
}
