"""Write a trained network to a file that runs without this package, and compare it with the network.

    python -m experiments.export --workdir=RUN --out=network.onnx
    python -m experiments.export --workdir=RUN --with_preprocessing --out=network.onnx
    python -m experiments.export --model=resnet50 --weights=timm/resnet50.a1_in1k --out=resnet50.stablehlo
    python -m experiments.export --workdir=RUN --int8 --out=small.onnx
    python -m experiments.export --workdir=RUN --out=weights.safetensors
    python -m experiments.export --workdir=RUN --to=web --out=page && python -m http.server --directory=page

ONNX files are checked in onnxruntime, and are for any program that reads ONNX; StableHLO files run in JAX alone, on
CPUs, GPUs and TPUs.
The written file is read again and compared, on pictures of the run's validation set or, of other weights, on bundled
ones; one that differs is deleted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_jax.cli import parse_options, refuse_given, run_command
from resnet_jax.export.checks import Format
from resnet_jax.export.compare import Exported
from resnet_jax.export.write import export
from resnet_jax.inference.convert import check_not_read
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.which_network import WhichNetwork, load_named


@dataclass(frozen=True, kw_only=True)
class Options(WhichNetwork):
    """Options."""

    out: str
    """File to write; of --to=web a new folder"""
    to: Format | None = None
    """Format. None: what the file's name ends with, .onnx, .stablehlo or .safetensors; web is a page for a browser"""
    size: tuple[int, ...] = ()
    """Height and width of the images, pixels, of networks that classify pixels. Empty: the network's own square"""
    with_preprocessing: bool = False
    """Normalize in the network, which then takes pictures as uint8 [B,H,W,3]"""
    half: bool = False
    """Store the arrays of an ONNX file in float16: half the size; the computation remains in float32"""
    int8: bool = False
    """Compute an ONNX file in 8-bit integers, with ranges from training pictures: a quarter of the size"""
    max_drop: float = 0.01
    """Most top-1 that 8-bit integers may lose on validation pictures, a fraction"""
    beside: bool = False
    """Leave the arrays of a StableHLO file in a .safetensors file beside it"""
    onnxruntime_web: str = ""
    """Folder of npm's package onnxruntime-web, for --to=web. Empty: npm fetches it"""
    dataset: str = ""
    """Set of the pictures to compare on. Empty: the run's own, or bundled digits"""
    data_dir: str = ""
    """Folder of their data. Empty: the run's own"""
    pictures: int = 16
    """Pictures that the written network and ours are compared on"""


def main(argv: Sequence[str]) -> None:
    """Export, and print what was written."""
    options = parse_options(Options, argv, "export", __doc__)
    if not options.int8:
        refuse_given(options, ["max_drop"], "for --int8")
    if options.to == "safetensors" or (not options.to and options.out.endswith(".safetensors")):
        refuse_given(options, ["size", "pictures"], "for programs, which are compared on pictures")
    check_not_read(options.out, options.weights)
    trained = load_named(options)
    show(
        trained,
        export(
            trained,
            options.out,
            options.to,
            size=options.size,
            with_preprocessing=options.with_preprocessing,
            half=options.half,
            int8=options.int8,
            max_drop=options.max_drop,
            beside=options.beside,
            onnxruntime_web=options.onnxruntime_web,
            dataset=options.dataset,
            data_dir=options.data_dir,
            num_pictures=options.pictures,
        ),
    )


def show(trained: Trained, written: Exported) -> None:
    """Print what was written, and how it differs."""
    for path in (written.path, *written.others):
        print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB")
    if written.operators:
        print(", ".join(f"{count} {name}" for name, count in written.operators.items()))
    if written.path.suffix == ".safetensors":
        print(f"read again: {written.agreeing} of {written.compared} arrays equal")
    else:
        kind = "pixels" if trained.classifies_pixels else "pictures"
        print(
            f"read again, on {written.pictures}: logits differ by at most {written.difference:.1e} of the largest, the "
            f"likeliest class is the same for {written.agreeing:,} of {written.compared:,} {kind}"
        )
    if written.top1:
        count, before, after = written.top1
        print(f"top-1 on {count:,} validation pictures: {before / count:.4f} before, {after / count:.4f} after")
    if trained.views != "center":
        print(f"the file sees each picture once; the run's own evaluation averages the views {trained.views!r}")
    if written.path.name == "network.onnx" and written.others:
        print(f"open it through a server: python -m http.server --directory={written.path.parent}")
    if written.loader:
        size = f"heights and widths that are multiples of {written.multiple}" if written.multiple else "this size only"
        print(f"takes images of {size}; loaded by\n\n{written.loader}")


if __name__ == "__main__":
    run_command(main)
