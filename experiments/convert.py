"""Turn trained weights into a .safetensors file of ours, or into the state dict that torchvision or timm loads.

    python -m experiments.convert resnet20-12fca82f.th --model=resnet20_cifar --out=resnet20.safetensors
    python -m experiments.convert timm/resnet50.a1_in1k --model=resnet50 --out=resnet50.npz
    python -m experiments.convert RUN --to=torch --out=model.safetensors

The arrays keep their bits both ways. A .safetensors file also says which network it belongs to, where the weights come
from, how images are preprocessed for them and what their classes are called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from resnet_jax.cli import parse_options, run_command
from resnet_jax.inference.convert import convert


@dataclass(frozen=True)
class Options:
    """Options of convert."""

    source: tyro.conf.Positional[str]
    """A .safetensors, .npz or .pth file, a TensorFlow.js folder, a hub id, or the folder of a training run."""
    out: str
    """File to write, .safetensors or .npz."""
    model: str = ""
    """Network the weights belong to. A run knows it."""
    to: Literal["ours", "torch"] = "ours"
    """Layout of the file: this package's, or PyTorch's."""
    num_classes: int = 0
    """Outputs of the weights' head. 0: what the file says, or else the network's own."""
    checkpoint: str = "newest"
    """Of a run: newest, best, or a step."""
    debug: bool = False
    """Print the traceback of an error."""


def main(argv: Sequence[str]) -> None:
    """Convert as the command line says."""
    options = parse_options(Options, argv, "convert", __doc__)
    name, count = convert(
        options.source,
        options.out,
        model=options.model,
        to=options.to,
        num_classes=options.num_classes,
        checkpoint=options.checkpoint,
    )
    print(f"{options.out}: {name}, {count:,} parameters")


if __name__ == "__main__":
    run_command(main)
