"""Many checkpoints and evaluations in one run need no more memory, threads and files than a few."""

import os
import threading
from pathlib import Path

import pytest

from resnet_jax.run import record, validate
from tests.faults.toy import config, photographs

# Three quarters of the time of a toy's evaluation is that of its curves; a fifth of them is enough to show a leak.
DRAW_EVERY = 5


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
def test_memory_threads_and_files_stay_flat(tmp_path, monkeypatch, long):
    steps, warm = (300, 60) if long else (120, 40)
    from resnet_jax.run.train import train

    photographs(tmp_path)
    seen: list[tuple[float, int, int]] = []
    whole, draw = validate.position, record.draw_curves

    def measured(*arguments):
        seen.append((resident_mib(), threading.active_count(), len(os.listdir("/proc/self/fd"))))
        return whole(*arguments)

    def drawn(*arguments):
        if len(seen) % DRAW_EVERY == 0:
            draw(*arguments)

    monkeypatch.setattr(validate, "position", measured)  # once an evaluation
    monkeypatch.setattr(record, "draw_curves", drawn)
    result = train(config(tmp_path, steps=steps, eval_every=1, log_every=50, keep=1))
    assert result["step"] == steps
    assert len(seen) == steps
    memory, threads, files = zip(*seen, strict=True)
    for what, values in (("MiB", memory), ("threads", threads), ("files", files)):
        first, last = values[:warm], values[-warm:]
        begun, ended = (f"{min(part):.0f} to {max(part):.0f}" for part in (first, last))
        print(f"{what}: {begun} until step {warm}, {ended} at the end")
    assert max(memory[warm:]) - memory[warm] < 100  # a leak of half a MiB a step, with --long
    # What leaks does not end; the threads of two saves that meet on a busy machine do.
    assert min(threads[-warm:]) - min(threads[:warm]) <= 2
    assert max(threads[warm:]) - max(threads[:warm]) <= 10
    assert max(files[warm:]) - max(files[:warm]) <= (5 if long else 3)
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) <= 2
