"""Measure the speed of a part of this package on this machine, and print one JSON object.

    python -m experiments.benchmark --mode=train --model=resnet50 --batch_size=256 --dtype=bfloat16
    python -m experiments.benchmark --mode=infer --model=resnet50 --batch_size=32 --against="python other.py"
    python -m experiments.benchmark --sweep --models resnet18 resnet50 --batch_sizes 8 32
    python -m experiments.benchmark --mode=input --data_dir=ROOT --num_workers=8
    python -m experiments.benchmark --mode=compile --model=resnet110_cifar --image_size=32 --batch_size=128 --scan
    python -m experiments.benchmark --mode=communication

--mode=train, infer: images a second of the training step, and of inference with normalizations folded into the
convolutions, on noise that is already on the device. "share" compares this with the device's own speed, that of a large
copy and of a large matrix product in the same run. On a CPU wall times mean little; compare in turn (--against).

--mode=resume: how long a checkpoint holds up the training, and how long it takes to write and to restore it.

--mode=input: images a second of decoding, random-resized crops and batching, on one core (in CPU seconds, beside
Pillow's transforms, and tf.data's where TensorFlow is installed) and with worker processes (in wall time: let nothing
else run). ROOT is any folder of images, or a set that experiments.prepare wrote.

--mode=compile: seconds until a training begins (initial state, tracing, compiling) and of a step, in wall time and in
CPU seconds, and the memory of a step beside its arguments.

--mode=communication prints two tables instead, computed and not measured: the values that devices exchange in a
training step, and the speed that is left of 8 to 1,024 devices (docs/scaling.md has them, with the assumptions).

--against runs another program in turn with this one, --rounds times. It prints a JSON object with "images_per_second"
for every line of its standard input, as this program does with --turns, and so compiles once; one that ends after an
object is started anew for the next.

--sweep measures every network of --models at every batch size of --batch_sizes, in training and in inference, and
prints a table.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import product
from typing import Any, Literal

from resnet_jax.benchmark.checkpointing import measure_resume
from resnet_jax.benchmark.communication import tables
from resnet_jax.benchmark.compile_time import machine, measure_compile
from resnet_jax.benchmark.input_pipeline import measure_input
from resnet_jax.benchmark.programs import Program, infer_program, train_program
from resnet_jax.benchmark.throughput import measure_throughput
from resnet_jax.benchmark.versus import against, sweep
from resnet_jax.cli import parse_options, run_command
from resnet_jax.config.checks import check_config
from resnet_jax.config.options import Config
from resnet_jax.data.loader import worker_count
from resnet_jax.data.sources.fake import NUM_CLASSES
from resnet_jax.errors import InputError
from resnet_jax.files.markdown_table import markdown_table
from resnet_jax.models.build import build_model
from resnet_jax.run.build import Run, build_run
from resnet_jax.runtime.compilation_cache import disable_cache

Mode = Literal["train", "infer", "resume", "input", "compile", "communication"]


@dataclass(frozen=True)
class Options:
    """Options."""

    mode: Mode = "train"
    """Measurement"""
    rounds: int = 10
    """Repetitions; the median is printed, with compile the fastest step"""
    image_size: int = 224
    """Side of the network's input, pixels"""
    model: str = "resnet50"
    """Network"""
    batch_size: int = 32
    """Examples a step"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation"""
    scan: bool = False
    """Compile identical blocks once"""
    remat: bool = False
    """Recompute activations in the backward pass"""
    steps_per_call: int = 1
    """With train: steps in one device call"""
    seeds: int = 1
    """With train: copies of the network trained side by side in one program"""
    forms: str = ""
    """Lowerings in place of the device's defaults: names in resnet_jax/ops/lowering.py, or none"""
    fold: bool = True
    """With infer: fold normalizations into the convolutions before them"""
    profile: str = ""
    """With train and infer: folder for a trace of a few more steps (TensorBoard, ui.perfetto.dev)"""
    data_dir: str = ""
    """With input: a folder of images, or a prepared set"""
    num_workers: int = -1
    """With input: worker processes. 0 and 1: not measured; -1: one for every core but one, at most 16"""
    against: str = ""
    """Command of another program, run in turn with this one"""
    turns: bool = False
    """Measure for every line of standard input, and print an object on a line"""
    sweep: bool = False
    """Print a table of --models at --batch_sizes in training and inference"""
    models: tuple[str, ...] = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    """With --sweep: networks"""
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    """With --sweep: batch sizes"""


def measured_train(options: Options) -> dict[str, Any]:
    """Measure the training step."""
    return measure_throughput(built_train(options), options.rounds, options.profile)


def measured_infer(options: Options) -> dict[str, Any]:
    """Measure inference."""
    return measure_throughput(built_infer(options), options.rounds, options.profile)


@cache
def built_train(options: Options) -> Program:
    """Return the program of training."""
    return train_program(fake_run(options, steps_per_call=options.steps_per_call), seeds=options.seeds)


@cache
def built_infer(options: Options) -> Program:
    """Return the program of inference."""
    model = build_model(fake_config(options), NUM_CLASSES)
    return infer_program(model, options.image_size, options.batch_size, fold=options.fold)


def measured_resume(options: Options) -> dict[str, Any]:
    """Measure checkpoints."""
    return measure_resume(fake_run(options), options.rounds)


def measured_input(options: Options) -> dict[str, Any]:
    """Measure the input pipeline."""
    if not options.data_dir:
        raise InputError("--mode=input needs --data_dir=ROOT, a folder of images")
    return measure_input(options.data_dir, worker_count(options.num_workers), options.rounds, options.image_size)


def measured_compile(options: Options) -> dict[str, Any]:
    """Measure the start of a training."""
    return measure_compile(fake_run(options, augmented=True), options.rounds)


def fake_config(options: Options, augmented: bool = False, **settings: Any) -> Config:
    """Return the config of a training on noise with ImageNet's classes; `augmented` with random crops and flips."""
    config = replace(Config(**network(options), dataset="fake", num_workers=0, steps=1_000), **settings)
    if not augmented:
        config = replace(config, flip="none", crop_padding=0)
    check_config(config)
    return config


def fake_run(options: Options, augmented: bool = False, **settings: Any) -> Run:
    """Return the parts of such a training."""
    return build_run(fake_config(options, augmented, **settings))


def network(options: Options) -> dict[str, Any]:
    """Return the options of the network and its computation."""
    return {name: getattr(options, name) for name in ("model", "image_size", "batch_size", "dtype", "scan", "remat")}


# What each mode measures. ("communication" is computed, for many networks at once.)
MODES: dict[Mode, Callable[[Options], dict[str, Any]]] = {
    "train": measured_train,
    "infer": measured_infer,
    "resume": measured_resume,
    "input": measured_input,
    "compile": measured_compile,
}
SWEPT: tuple[Mode, ...] = ("train", "infer")
# The modes of the options that not every mode has.
MODES_BY_OPTION: dict[str, tuple[Mode, ...]] = {
    "steps_per_call": ("train",),
    "seeds": ("train",),
    "fold": ("infer",),
    "profile": ("train", "infer"),
    "data_dir": ("input",),
    "num_workers": ("input",),
}
COLUMNS = ("images_per_second", "milliseconds_per_step", "compile_seconds", "program_mib", "peak_memory_mib")


def main(argv: Sequence[str]) -> None:
    """Measure, and print the result."""
    options = parse_options(Options, argv, "benchmark", __doc__)
    for name in ("rounds", "steps_per_call", "seeds", "batch_size", "image_size"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name}={getattr(options, name)} must be at least 1")
    check_used(options)
    if options.forms:
        os.environ["RESNET_JAX_FORMS"] = "" if options.forms == "none" else options.forms
    if options.mode == "communication":
        if options.sweep or options.against:
            raise InputError("--mode=communication computes its tables; leave out --sweep and --against")
        print(tables())
        return
    disable_cache()  # to compile is part of what is measured
    if options.sweep:
        print_sweep(options)
    elif options.against:
        ours = [*command(options), *(["--turns"] if options.mode in SWEPT else [])]
        print(json.dumps(against(ours, options.against, options.rounds), indent=1))
    elif options.turns:
        for _ in sys.stdin:
            print(json.dumps(measured(options)), flush=True)
    else:
        print(json.dumps(measured(options), indent=1))


def check_used(options: Options) -> None:
    """Refuse an option of another measurement.

    Raises:
        InputError: the first such option.
    """
    modes = SWEPT if options.sweep else (options.mode,)
    unused = {name: f"--mode={' or '.join(of)}" for name, of in MODES_BY_OPTION.items() if not {*of} & {*modes}}
    if not options.sweep:
        unused |= dict.fromkeys(("models", "batch_sizes"), "--sweep")
    for name, needed in unused.items():
        if getattr(options, name) != getattr(Options(), name):
            raise InputError(f"--{name} does nothing here: it needs {needed}")


def measured(options: Options) -> dict[str, Any]:
    """Return the measurement, and what was measured on which machine."""
    settings: dict[str, Any] = {}
    if options.mode != "input":
        settings = network(options) | {"forms": os.environ.get("RESNET_JAX_FORMS", "default")}
    return {"mode": options.mode, **settings, **MODES[options.mode](options), **machine()}


def command(options: Options) -> list[str]:
    """Return the command of one measurement, for a process of its own."""
    others = {name for name, modes in MODES_BY_OPTION.items() if options.mode not in modes}
    left_out = {"against", "turns", "sweep", "models", "batch_sizes"} | others
    chosen = {name: value for name, value in asdict(options).items() if name not in left_out}
    return [sys.executable, "-m", "experiments.benchmark", *(f"--{name}={value}" for name, value in chosen.items())]


def print_sweep(options: Options) -> None:
    """Print one JSON object a line as it is measured, then a table of all."""
    cells = list(product(options.models, options.batch_sizes, SWEPT))
    commands = [command(replace(options, model=m, batch_size=b, mode=mode)) for m, b, mode in cells]
    rows = []
    for (model, batch_size, mode), found in zip(cells, sweep(commands), strict=True):
        print(json.dumps({"model": model, "batch_size": batch_size, "mode": mode, **found}), flush=True)
        values = [found["error"], *[""] * 4] if "error" in found else [str(found[name]) for name in COLUMNS]
        rows.append([model, str(batch_size), mode, *values])
    print(markdown_table(["model", "batch_size", "mode", *COLUMNS], rows))


if __name__ == "__main__":
    run_command(main)
