"""Measurements in processes of their own: two programs in turn, or one for every combination of settings."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

from resnet_jax.errors import InputError

SPEED, STEP, CPU = "images_per_second", "milliseconds_per_step", "cpu_milliseconds_per_step"


def measured_by(command: str | Sequence[str]) -> dict[str, Any]:
    """Run a program, a string in the shell, and return the JSON object that it prints last.

    Raises:
        InputError: it fails, or prints none.
    """
    done = subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True, check=False)
    shown = command if isinstance(command, str) else " ".join(command)
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), "it printed nothing")
        raise InputError(f"{shown}: exit status {done.returncode}: {last}")
    lines = done.stdout.splitlines()
    for start in [number for number, line in enumerate(lines) if line.startswith("{")]:
        with suppress(json.JSONDecodeError):
            return json.loads("\n".join(lines[start:]))
    raise InputError(f"{shown}: it did not print one JSON object, from the beginning of a line, and nothing after")


def against(ours: Sequence[str], theirs: str, rounds: int) -> dict[str, Any]:
    """Run two programs in turn, ours first, so that other load slows both; each compiles and warms up anew.

    Returns:
        {"ratio": ours to theirs in images a second, the median of the pairs, "ratio_range", "cpu_ratio" and
        "cpu_ratio_range": the same in images per CPU second, which other programs disturb less, where both print
        "milliseconds_per_step" and "cpu_milliseconds_per_step"; "rounds", "ours", "theirs": the last object of each}.

    Raises:
        InputError: one of them fails, or does not print "images_per_second".
    """
    pairs = []
    for _ in range(rounds):
        pairs.append((measured_by(ours), measured_by(theirs)))
        if any(SPEED not in result for result in pairs[-1]):
            raise InputError(f'--against: both programs must print "{SPEED}"; --mode=train and infer do')
    ratios = {"ratio": [our[SPEED] / their[SPEED] for our, their in pairs]}
    if all({CPU, STEP} <= result.keys() for pair in pairs for result in pair):
        ratios["cpu_ratio"] = [_images_per_cpu_second(our) / _images_per_cpu_second(their) for our, their in pairs]
    found: dict[str, Any] = {}
    for name, values in ratios.items():
        found[name] = round(median(values), 3)
        found[f"{name}_range"] = [round(min(values), 3), round(max(values), 3)]
    return found | {"rounds": rounds, "ours": pairs[-1][0], "theirs": pairs[-1][1]}


def _images_per_cpu_second(result: dict[str, Any]) -> float:
    return result[SPEED] * result[STEP] / result[CPU]


def sweep(commands: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Yield the measurement of each program in turn; of one that fails (memory, as a rule) {"error": why}."""
    for command in commands:
        try:
            yield measured_by(command)
        except InputError as error:
            yield {"error": str(error).removeprefix(f"{' '.join(command)}: ")}
