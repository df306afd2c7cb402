"""Three hundred checkpoints and evaluations in one run need no more memory, threads and files than thirty."""

import os
import threading
from pathlib import Path

import pytest

from resnet_jax.run import record, validate
from tests.faults.toy import config, photographs

STEPS, WARM = 300, 60
# Three quarters of the time of a toy's evaluation is that of its curves; sixty figures that leak would show, too.
DRAW_EVERY = 5


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
def test_memory_threads_and_files_stay_flat(tmp_path, monkeypatch):
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
    result = train(config(tmp_path, steps=STEPS, eval_every=1, log_every=50, keep=1))
    assert result["step"] == STEPS
    assert len(seen) == STEPS
    memory, threads, files = zip(*seen, strict=True)
    for what, values in (("MiB", memory), ("threads", threads), ("files", files)):
        first, last = values[:WARM], values[-WARM:]
        begun, ended = (f"{min(part):.0f} to {max(part):.0f}" for part in (first, last))
        print(f"{what}: {begun} until step {WARM}, {ended} at the end")
    assert max(memory[WARM:]) - memory[WARM] < 100
    # What leaks does not end; the threads of two saves that meet on a busy machine do.
    assert min(threads[-WARM:]) - min(threads[:WARM]) <= 2
    assert max(threads[WARM:]) - max(threads[:WARM]) <= 10
    assert max(files[WARM:]) - max(files[:WARM]) <= 5
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) <= 2
