"""The progress of a run: a bar or lines, the speed, and the share of time spent waiting for data."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


class Progress:
    """The progress of a run, a bar on a terminal and lines elsewhere, and the time of its steps.

    `quiet` shows nothing: of several processes, one is enough. The clock starts when the first step has been compiled
    and started, and rests while `paused`.
    """

    def __init__(self, start: int, total_steps: int, quiet: bool = False):
        disable = True if quiet else None
        self.bar = tqdm(initial=start, total=total_steps, unit="step", disable=disable, dynamic_ncols=True)
        self.quiet = quiet
        self.total_steps = total_steps
        self.resting = 0.0  # seconds
        self.waited = 0.0  # seconds
        self.last_call = (0.0, self._now())  # seconds waited, seconds
        self.watcher = ThreadPoolExecutor(max_workers=1)
        self.last_end: Future[float] | None = None  # of the last step given to the device
        self.step: int | None = None
        self.first = self.last_shown = (start, 0.0)  # step, seconds

    def tick(self, step: int, output: Any) -> None:
        """Note that everything up to `step`, which computes `output`, has been started on the device."""
        self.bar.update(step - (self.first[0] if self.step is None else self.step))
        self.last_end = self.watcher.submit(_end_of, output)
        if self.step is None:
            self.first = self.last_shown = (step, self._now())
        self.step = step

    def waits(self, batches: Iterator[Item]) -> Iterator[Item]:
        """Yield the same batches, and count as waiting the time until each is there once the last step is done."""
        while True:
            began = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self.waited += self._idle_since(began)
            yield batch

    def waiting(self) -> float:
        """Return the share of time since the last call, without pauses, in which the device had no batch to work on.

        It counts from the first batch on, for which the worker processes are started, and is near 0 where batches are
        made faster than steps.
        """
        waited, since = self.last_call
        self.last_call = (self.waited, self._now())
        return (self.waited - waited) / max(self.last_call[1] - since, 1e-9)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock: for an evaluation, for example."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.resting += time.perf_counter() - began

    def show(self, row: dict[str, Any], batch_size: int, score: str) -> None:
        """Show a row of the log and its score as text, with the speed since the last one."""
        speed = self._images_per_second(self.last_shown, batch_size)
        self.last_shown = (row["step"], self._now())
        numbers = {"loss": f"{row['loss']:.4f}", "rate": f"{row['learning_rate']:.4g}"}
        if speed:
            numbers["images/s"] = f"{speed:,.1f}"
        if row["waiting"] >= 0.1:  # less is nothing to act on
            numbers["waiting for data"] = f"{row['waiting']:.0%}"
        self.bar.set_postfix(numbers)
        if self.bar.disable and not self.quiet:
            text = ", ".join(f"{name} {value}" for name, value in numbers.items())
            say(f"step {row['step']:,} of {self.total_steps:,}: {score}, {text}")

    def average_images_per_second(self, batch_size: int) -> float | None:
        """Return the speed over all timed steps; None where there were none."""
        return self._images_per_second(self.first, batch_size)

    def close(self) -> None:
        """Close the bar."""
        self.bar.close()
        self.watcher.shutdown(wait=False)

    def _idle_since(self, began: float) -> float:
        """Return seconds from `began` or, if that was later, from the end of the last step; 0 while it runs."""
        now = time.perf_counter()
        if self.last_end is None:
            return now - began
        return now - max(began, self.last_end.result()) if self.last_end.done() else 0.0

    def _images_per_second(self, since: tuple[int, float], batch_size: int) -> float | None:
        steps = (self.step or since[0]) - since[0]
        return steps * batch_size / (self._now() - since[1]) if steps else None

    def _now(self) -> float:
        return time.perf_counter() - self.resting


def _end_of(output: Any) -> float:
    """Return the time at which an output was computed. Steps run beside the host: only a waiting thread knows."""
    with suppress(Exception):  # the loop meets the same error, and reports it
        output.block_until_ready()
    return time.perf_counter()


def say(line: str) -> None:
    """Print a line for the person who watches, above the progress bar if there is one."""
    tqdm.write(line, file=sys.stdout)
    sys.stdout.flush()
