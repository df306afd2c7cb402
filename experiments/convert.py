"""Convert trained weights to this package's layout, or to the state dict that torchvision and timm load.

    python -m experiments.convert resnet20-12fca82f.th --model=resnet20_cifar --out=resnet20.safetensors
    python -m experiments.convert timm/resnet50.a1_in1k --model=resnet50 --out=resnet50.npz
    python -m experiments.convert RUN --to=torch --out=model.safetensors
    python -m experiments.convert RUN --checkpoint=best --ema --out=average.safetensors

The arrays keep their bits both ways. A .safetensors file also holds the name of its network, the source of the weights,
the preprocessing of images and the names of the classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from resnet_jax.cli import parse_options, run_command
from resnet_jax.inference.convert import convert
from resnet_jax.weights.image_config import Interpolation


@dataclass(frozen=True)
class Options:
    """Options."""

    source: tyro.conf.Positional[str]
    """A .safetensors, .npz or .pth file, a TensorFlow.js folder, a hub id, or the folder of a run"""
    out: str
    """File to write, .safetensors or .npz"""
    model: str = ""
    """Network of the weights; not needed for a run"""
    to: Literal["ours", "torch"] = "ours"
    """Layout of the file: this package's, or PyTorch's"""
    num_classes: int = 0
    """Classes of the head. 0: as in the file, or else the network's own"""
    weights_key: str = ""
    """Set of weights to take from a file that holds several, such as state_dict_ema. Empty: the usual one"""
    checkpoint: str = "newest"
    """Checkpoint of the run: newest, best, or a step"""
    ema: bool = False
    """Take the average of the run's weights"""
    mean: tuple[float, ...] = ()
    """Means of R, G, B in [0, 1], of weights whose own is not known. Empty: the file does not say them"""
    std: tuple[float, ...] = ()
    """Standard deviations of R, G, B, of such weights. Empty: as --mean"""
    interpolation: Interpolation = ""
    """Resizing of the images of such weights. Empty: as --mean"""


def main(argv: Sequence[str]) -> None:
    """Convert, and print what was written."""
    options = parse_options(Options, argv, "convert", __doc__)
    name, count = convert(
        options.source,
        options.out,
        model=options.model,
        to=options.to,
        num_classes=options.num_classes,
        weights_key=options.weights_key,
        checkpoint=options.checkpoint,
        ema=options.ema,
        mean=options.mean,
        std=options.std,
        interpolation=options.interpolation,
    )
    print(f"{options.out}: {name}, {count:,} parameters")


if __name__ == "__main__":
    run_command(main)
