"""The way from a command to the gradient, traced: a reader follows it through few files."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import resnet_jax
from experiments import imagenet

ROOT = Path(resnet_jax.__file__).parents[1]
NETWORK = ("resnet_jax/models/", "resnet_jax/layers/", "resnet_jax/ops/")


class GradientReachedError(Exception):
    """Raised where the loss is entered to be differentiated: the trace is complete."""


def trace_to_gradient(main: Any, argv: list[str]) -> tuple[list[str], list[str]]:
    """Return files of ours on the way from a command to the gradient, in the order in which they are entered first.

    The first list are the files of the call stack; the second those entered from the first line of the step on.
    """
    stack: list[str] = []
    entered: list[str] = []
    in_step = False

    def file_of(frame: FrameType) -> str | None:
        path = Path(frame.f_code.co_filename)
        # An environment may lie inside the checkout.
        ours = any(path.is_relative_to(ROOT / package) for package in ("resnet_jax", "experiments"))
        return str(path.relative_to(ROOT)) if ours else None

    def watch(frame: FrameType, event: str, _: Any) -> None:
        nonlocal in_step
        if event != "call" or (name := file_of(frame)) is None:
            return
        in_step = in_step or (name == "resnet_jax/run/step.py" and frame.f_code.co_name == "step")
        if in_step:
            entered.append(name)
        if frame.f_code.co_name == "loss_of":
            above: FrameType | None = frame
            while above is not None:
                stack.append(file_of(above) or "")
                above = above.f_back
            raise GradientReachedError

    sys.setprofile(watch)
    try:
        with pytest.raises(GradientReachedError):
            main(argv)
    finally:
        sys.setprofile(None)
    return list(dict.fromkeys(filter(None, reversed(stack)))), list(dict.fromkeys(entered))


@pytest.mark.slow
def test_a_reader_gets_from_the_command_to_the_gradient_in_few_files(tmp_path):
    options = ["--model=resnet8_cifar", "--width=2", "--dataset=fake", "--image_size=32", "--batch_size=8", "--steps=1"]
    stack, entered = trace_to_gradient(imagenet.main, [*options, "--num_workers=0", f"--workdir={tmp_path}"])
    assert stack == [
        "experiments/imagenet.py",
        "resnet_jax/run/train.py",
        "resnet_jax/training/loop.py",
        "resnet_jax/run/step.py",
        "resnet_jax/training/step.py",
        *[name for name in stack if name == "resnet_jax/training/accumulate.py"],
    ]
    way = [name for name in dict.fromkeys(stack + entered) if not name.startswith(NETWORK)]
    assert len(way) <= 12, way
