"""Measure the speed of a part of this package on this machine; prints one JSON object.

    python -m experiments.benchmark --mode=input --data_dir=ROOT --num_workers=8
    python -m experiments.benchmark --mode=compile --model=resnet110_cifar --image_size=32 --batch_size=128 --scan

--mode=input: images a second that decoding, random-resized crops and batching make, on a core (in CPU seconds, beside
Pillow's transforms and tf.data's, where TensorFlow is installed) and with worker processes (in wall time: let nothing
else run). ROOT is any folder with images in it, or what experiments.prepare wrote.

--mode=compile: seconds that a training takes to begin, and those of a step: first state, tracing, compiling, in wall
time and in CPU seconds, and the memory that a step needs beside its arguments. The images are noise.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from resnet_jax.benchmark.compile import machine, measure_compile
from resnet_jax.benchmark.input import measure_input
from resnet_jax.build import build_run
from resnet_jax.cli import parse_options, run_command
from resnet_jax.config import Config
from resnet_jax.config_checks import check_config
from resnet_jax.errors import InputError
from resnet_jax.inputs import worker_count


@dataclass(frozen=True)
class Options:
    """Options of benchmark."""

    mode: Literal["input", "compile"]
    """What is measured."""
    data_dir: str = ""
    """Of input: a folder with images in it, or a prepared set."""
    num_workers: int = -1
    """Of input: worker processes. 0: none are measured; -1: one for every core but one, at most 16."""
    rounds: int = 10
    """How often everything is done; of input the medians count, of compile the fastest step."""
    image_size: int = 224
    """Pixels a side of what the network sees."""
    model: str = "resnet50"
    """Of compile: the network."""
    batch_size: int = 32
    """Of compile: examples a step."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of compile: type of the computation."""
    scan: bool = False
    """Of compile: compile the identical blocks of a stage once."""
    remat: bool = False
    """Of compile: keep each block's input alone for the backward pass."""
    debug: bool = False
    """Print the traceback of an error."""


def of_input(options: Options) -> dict[str, Any]:
    """Of the input pipeline."""
    if not options.data_dir:
        raise InputError("--mode=input needs --data_dir=ROOT, a folder with images in it")
    return measure_input(options.data_dir, worker_count(options.num_workers), options.rounds, options.image_size)


def of_compile(options: Options) -> dict[str, Any]:
    """Of a training's start."""
    shared = {name: getattr(options, name) for name in ("model", "image_size", "batch_size", "dtype", "scan", "remat")}
    config = Config(**shared, dataset="fake", num_workers=0, flip="random", steps=1_000)
    check_config(config)
    return {"mode": "compile", **shared, **measure_compile(build_run(config), options.rounds), **machine()}


# A mode is a line here and a name in `Options.mode`.
MODES: dict[str, Callable[[Options], dict[str, Any]]] = {"input": of_input, "compile": of_compile}


def main(argv: Sequence[str]) -> None:
    """Measure, and print what was found."""
    options = parse_options(Options, argv, "benchmark", __doc__)
    if options.rounds < 1:
        raise InputError(f"--rounds={options.rounds} must be at least 1")
    print(json.dumps(MODES[options.mode](options), indent=1))


if __name__ == "__main__":
    run_command(main)
