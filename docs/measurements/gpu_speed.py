"""Speed of training and inference on one GPU, beside PyTorch's; parts of gpu.py."""

import gzip
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from resnet_jax.benchmark.programs import (
    Program,
    calls_in_sample,
    infer_program,
    sample_in_turn,
    time_calls,
    train_program,
)
from resnet_jax.benchmark.versus import Contender
from resnet_jax.config.options import Config
from resnet_jax.models.registry import create_model
from resnet_jax.ops.lowering import DEFAULTS
from resnet_jax.run.build import build_run

TORCH_STEP = str(Path(__file__).with_name("torch_step.py"))


class Sizes(NamedTuple):
    """The sizes of all measurements, and the time at which they must have ended."""

    large: str
    large_pixels: int
    large_batch: int
    parity_batch: int
    switched: str
    small: str
    small_batch: int
    steps_per_call: int
    rounds: int
    airbench_runs: int
    dataset: dict[str, Any]
    airbench: dict[str, Any]
    he2015: dict[str, Any]
    data_dir: str = ""
    end: float = 0.0


FULL = Sizes(
    *("resnet50", 224, 256, 16, "resnet50", "resnet20_cifar", 128, 100, 7, 20),
    dataset={"dataset": "cifar10", "image_size": 0},
    airbench={"steps_per_call": 121},
    he2015={"steps_per_call": 400},
)
PAYING = DEFAULTS["gpu"]
TOY = Sizes(
    *("resnet18", 32, 8, 8, "resnet8_cifar", "resnet8_cifar", 8, 3, 2, 2),
    dataset={"dataset": "digits", "image_size": 16},
    airbench={"batch_size": 64, "steps": 2, "steps_per_call": 2, "dataset": "fake"},  # digits have no color to whiten
    he2015={"batch_size": 32, "steps": 4, "steps_per_call": 2},
)


def train(sizes: Sizes, out: Path) -> dict[str, Any]:
    """ResNet-50's step on images that are on the device; writes its program and a trace too."""
    command = [sizes.large, f"--batch_size={sizes.large_batch}", f"--image_size={sizes.large_pixels}"]
    found, program = beside_torch(
        sizes,
        {"ours": lambda: train_program(build_run(noise(sizes.large, sizes.large_pixels, sizes.large_batch)))},
        {"torch eager": command, "torch.compile": [*command, "--compile=default"]},
    )
    keep_program(program["ours"], out / "train_step.hlo.gz")
    with TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            program["ours"].call(3)
        for trace in Path(folder).rglob("*.xplane.pb"):
            (out / "train_step.xplane.pb.gz").write_bytes(gzip.compress(trace.read_bytes()))
    return found


def small(sizes: Sizes, out: Path) -> dict[str, Any]:
    """ResNet-20's step: many in a call, their number a constant or an argument; one in a call; many in float32."""
    command = [sizes.small, f"--batch_size={sizes.small_batch}", "--image_size=32"]
    found, programs = beside_torch(
        sizes,
        {
            "ours, many steps a call": small_program(sizes),
            "ours, their number an argument": small_program(sizes, fixed_length=False),
            "ours, one step a call": small_program(sizes, many=False),
            "ours, many, float32": small_program(sizes, dtype="float32"),
        },
        {"torch eager": command, "torch CUDA graph": [*command, "--graph"]},
    )
    keep_program(next(iter(programs.values())), out / "small_step.hlo.gz")
    return found


def seeds(sizes: Sizes, out: Path) -> dict[str, Any]:
    """ResNet-20's step, many in a call, of one network and of three side by side in one program."""
    choices = {"one": small_program(sizes), "three": small_program(sizes, seeds=3)}
    return in_turn({name: build() for name, build in choices.items()}, {}, sizes.rounds)


def small_program(
    sizes: Sizes, dtype: str = "bfloat16", *, many: bool = True, fixed_length: bool = True, seeds: int = 1
) -> Callable[[], Program]:
    """Return what compiles ResNet-20's step with crops and flips."""
    steps = sizes.steps_per_call
    several = {"steps_per_call": steps, "log_every": steps, "eval_every": 10**6} if many else {}
    config = noise(sizes.small, 32, sizes.small_batch, dtype=dtype, crop_padding=4, flip="random", **several)
    return lambda: train_program(build_run(config), seeds=seeds, fixed_length=fixed_length and many)


def infer(sizes: Sizes, out: Path) -> dict[str, Any]:
    """ResNet-50's inference, normalizations folded."""
    command = [sizes.large, f"--batch_size={sizes.large_batch}", f"--image_size={sizes.large_pixels}", "--mode=infer"]
    model = create_model(sizes.large, dtype=jnp.bfloat16)
    found, programs = beside_torch(
        sizes,
        {"ours": lambda: infer_program(model, sizes.large_pixels, sizes.large_batch)},
        {"torch eager": command, "torch.compile": [*command, "--compile=default"]},
    )
    keep_program(programs["ours"], out / "infer.hlo.gz")
    return found


def switches(sizes: Sizes, out: Path) -> dict[str, Any]:
    """ResNet-50's step with each lowering that JAX's own could be exchanged for, as many as the minutes allow."""
    config = noise(sizes.switched, sizes.large_pixels, sizes.large_batch)
    choices = {
        "plain": ("", config),
        "all": (",".join(PAYING), config),
        "all and float32_gradients": (",".join((*PAYING, "float32_gradients")), config),
        "all, --deterministic": (",".join(PAYING), replace(config, deterministic=True)),
        **{f"all but {left}": (",".join(name for name in PAYING if name != left), config) for left in PAYING},
        "all and matrix_product": (",".join((*PAYING, "matrix_product")), config),
    }
    programs: dict[str, Program] = {}
    longest = 0.0
    for name, (lowerings, chosen) in choices.items():
        began = time.monotonic()
        if began + 1.3 * longest + 20 > sizes.end:
            break
        with lowered_by(lowerings):
            programs[name] = train_program(build_run(chosen))
        longest = max(longest, time.monotonic() - began)
    return in_turn(programs, {}, sizes.rounds) if programs else {}


def noise(model: str, pixels: int, batch: int, **options: Any) -> Config:
    """Return the config of a training on images of noise that the device holds."""
    settings: dict[str, Any] = {"flip": "none", "crop_padding": 0, "dtype": "bfloat16", "steps": 10**6} | options
    return Config(model=model, image_size=pixels, batch_size=batch, dataset="fake", num_workers=0, **settings)


def beside_torch(
    sizes: Sizes, ours: dict[str, Callable[[], Program]], theirs: dict[str, list[str]]
) -> tuple[dict[str, Any], dict[str, Program]]:
    """Compile all of them, PyTorch's in processes of their own, and sample them in turn."""
    dtype = ["--dtype=bfloat16", "--turns", "--rounds=1"]
    if find_spec("torch") is None:
        theirs = {}
    with ExitStack() as stack:
        rivals = {
            name: stack.enter_context(closing(Contender([sys.executable, TORCH_STEP, *command, *dtype])))
            for name, command in theirs.items()
        }
        for rival in rivals.values():
            rival.start()
        failed = {}
        for name, rival in rivals.items():  # warm before ours is compiled, which tries out convolutions
            try:
                rival.measure()
            except Exception as error:
                failed[name] = {"failed": str(error)}
        for name in failed:
            del rivals[name]
        programs = {name: build() for name, build in ours.items()}
        return in_turn(programs, rivals, sizes.rounds) | failed, programs


def in_turn(programs: dict[str, Program], rivals: dict[str, Contender], rounds: int) -> dict[str, Any]:
    """Sample each in turn."""
    calls = {name: calls_in_sample(program) for name, program in programs.items()}
    last: dict[str, dict[str, Any]] = {}

    def sample_ours(name: str) -> float:
        return time_calls(programs[name], calls[name])[0] / programs[name].steps

    def sample_rival(name: str) -> float:
        last[name] = rivals[name].measure()
        return last[name]["milliseconds_per_step"] / 1e3

    takes = {name: (lambda name=name: sample_ours(name)) for name in programs}
    takes |= {name: (lambda name=name: sample_rival(name)) for name in rivals}
    samples = sample_in_turn(takes, rounds)
    found = {name: sampled(programs[name], samples[name]) for name in programs}
    for name in rivals:
        images = last[name]["batch_size"]
        found[name] = speeds(samples[name], images) | {"framework": last[name]["framework"]}
    first = samples[next(iter(programs))]
    for name, times in samples.items():
        ratios = [other / ours for ours, other in zip(first, times, strict=True)]
        found[name]["first_is_faster_by"] = [round(f(ratios), 3) for f in (median, min, max)]
    return found


def sampled(program: Program, times: list[float]) -> dict[str, Any]:
    """Speed and memory of a program."""
    memory = program.compiled.memory_analysis()
    return speeds(times, program.images // program.steps) | {
        "compile_seconds": program.compile_seconds,
        "temporary_mib": round(memory.temp_size_in_bytes / 2**20) if memory else None,
    }


def speeds(times: list[float], images: int) -> dict[str, Any]:
    """Return the median and the range of seconds a step."""
    return {
        "images_per_second": round(images / median(times), 1),
        "milliseconds_per_step": round(1e3 * median(times), 4),
        "milliseconds_range": [round(1e3 * f(times), 4) for f in (min, max)],
    }


def speed_rows(title: str, found: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table."""
    rows = []
    for name, one in found.items():
        if "failed" in one:
            rows.append((f"{title}: {name}", f"failed: {one['failed'][-300:]}"))
            continue
        ratio, low, high = one["first_is_faster_by"]
        text = f"{one['images_per_second']:,.0f} images/s, {one['milliseconds_per_step']} ms a step"
        rows.append((f"{title}: {name}", f"{text}; the first is {ratio} ({low} to {high}) times as fast"))
    return rows


def keep_program(program: Program, path: Path) -> None:
    """Write XLA's optimized program."""
    path.write_bytes(gzip.compress(program.compiled.as_text().encode()))


@contextmanager
def lowered_by(lowerings: str) -> Iterator[None]:
    """Trace with these lowerings."""
    before = os.environ.get("RESNET_JAX_FORMS")
    os.environ["RESNET_JAX_FORMS"] = lowerings
    try:
        yield
    finally:
        os.environ.pop("RESNET_JAX_FORMS")
        if before is not None:
            os.environ["RESNET_JAX_FORMS"] = before
