"""Measurements in processes of their own: two programs in turn, or one for every combination of settings."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from statistics import median
from typing import Any

from resnet_jax.errors import InputError

SPEED, STEP, CPU = "images_per_second", "milliseconds_per_step", "cpu_milliseconds_per_step"


class Contender:
    """A program in a process of its own, which prints a JSON object for every line of its standard input.

    It compiles once, and waits between two objects. One that ends after its object is started anew for the next.

    Attributes:
        name: the command.
    """

    def __init__(self, command: str | Sequence[str]):
        self.name = command if isinstance(command, str) else " ".join(command)
        self._command = command
        self._process: subprocess.Popen[str] | None = None
        self._had_object = False

    def start(self) -> None:
        """Start the process, so that it warms up before it is asked; `measure` does so where it has not been done."""
        self.close()
        self._had_object = False
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 (closed by `close`)
        self._process = subprocess.Popen(
            self._command,
            shell=isinstance(self._command, str),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            start_new_session=True,
        )

    def measure(self) -> dict[str, Any]:
        """Return the next object.

        Raises:
            InputError: the program fails, or prints none.
        """
        if self._process is None:
            self.start()
        found = self._next_object()
        if found is None and self._ended_well():
            self.start()
            found = self._next_object()
        if found is None:
            raise InputError(f"{self.name}: {self._why()}")
        return found

    def close(self) -> None:
        """End the process, and those that it started."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.communicate()
            self._errors.close()
            self._process = None

    def _ended_well(self) -> bool:
        return self._process is not None and self._process.wait() == 0 and self._had_object

    def _next_object(self) -> dict[str, Any] | None:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write("\n")
            process.stdin.flush()
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line)
            found = _last_object(lines)
            if found is not None:
                self._had_object = True
                return found
        return None

    def _why(self) -> str:
        assert self._process is not None
        status = self._process.wait()
        if not status:
            return "it did not print a JSON object that begins a line"
        self._errors.seek(0)
        last = next(iter(self._errors.read().strip().splitlines()[-1:]), "it printed nothing")
        return f"exit status {status}: {last}"


def _last_object(lines: Sequence[str]) -> dict[str, Any] | None:
    """Return the JSON object with which the lines end, from the beginning of a line; None if there is none."""
    for start in [number for number, line in enumerate(lines) if line.startswith("{")]:
        with suppress(json.JSONDecodeError):
            return json.loads("".join(lines[start:]))
    return None


def measured_by(command: str | Sequence[str]) -> dict[str, Any]:
    """Run a program, a string in the shell, and return the first JSON object that it prints.

    Raises:
        InputError: it fails, or prints none.
    """
    with closing(Contender(command)) as contender:
        return contender.measure()


def against(ours: Sequence[str], theirs: str, rounds: int) -> dict[str, Any]:
    """Run two programs in turn, ours first, so that other load slows both.

    Args:
        ours: prints an object for every line that it reads.
        theirs: the same, or prints one object and ends: then it is started, and warms up, anew in every round.
        rounds: pairs.

    Returns:
        {"ratio": ours to theirs in images a second, the median of the pairs, "ratio_range", "cpu_ratio" and
        "cpu_ratio_range": the same in images per CPU second, which other programs disturb less, where both print
        "milliseconds_per_step" and "cpu_milliseconds_per_step"; "rounds", "ours", "theirs": the last object of each}.

    Raises:
        InputError: one of them fails, or does not print "images_per_second".
    """
    pairs = []
    with closing(Contender(ours)) as us, closing(Contender(theirs)) as them:
        for _ in range(rounds):
            pairs.append((us.measure(), them.measure()))
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
