"""Cost of checkpoints: how long a save blocks the training, how long the write takes, and how long a restore."""

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import jax

from resnet_jax.models.resnet.scan import stack_scan_groups
from resnet_jax.run.build import Run
from resnet_jax.run.state import checkpoint_content, checkpoint_shapes, first_state
from resnet_jax.run.step import build_train_step
from resnet_jax.training.metrics import Sums, zero_sums
from resnet_jax.training.state import TrainState
from resnet_jax.workdir import checkpoint
from resnet_jax.workdir.async_save import save_in_background


def measure_resume(run: Run, rounds: int) -> dict[str, Any]:
    """Measure `rounds` saves of a training's state, each after a step, and one restore of the last.

    Returns:
        {"checkpoint_mib": its size on disk, "save_milliseconds": that a save blocks the training, median and range,
        "write_seconds": until the checkpoint is complete, "restore_seconds": to read the checkpoint and compare it with
        its fingerprint, "step_milliseconds": to compare with}; medians.
    """
    state, sums = first_state(run), jax.jit(zero_sums)()
    batch = next(iter(run.data.train.batches(0, 1)))
    compiled = build_train_step(run).lower(state, sums, batch).compile()
    steps, saves, writes = [], [], []
    with TemporaryDirectory() as folder:
        with checkpoint.open_manager(Path(folder)) as manager:

            def write(step: int, state: TrainState, sums: Sums) -> None:
                checkpoint.save(manager, step, checkpoint_content(run, state, sums))
                manager.wait_until_finished()

            for at in range(1, rounds + 2):
                began = time.perf_counter()
                state, sums = jax.block_until_ready(compiled(state, sums, batch))
                stepped = time.perf_counter()
                with save_in_background(write) as save:
                    save(at, state, sums)
                    saves.append(time.perf_counter() - stepped)
                steps.append(stepped - began)
                writes.append(time.perf_counter() - stepped)
            size = sum(path.stat().st_size for path in (Path(folder) / str(at)).rglob("*") if path.is_file())
        target = checkpoint_shapes(run)
        began = time.perf_counter()
        with checkpoint.open_manager(Path(folder)) as manager:
            _, content = checkpoint.restore_newest(manager, target, print) or (0, {})
        jax.block_until_ready(stack_scan_groups(content["state"], run.scan_groups))
        restored = time.perf_counter() - began
    saves, writes, steps = saves[1:], writes[1:], steps[1:]  # the first compiles the copy and the fingerprint
    return {
        "checkpoint_mib": round(size / 2**20, 1),
        "save_milliseconds": round(1e3 * median(saves), 1),
        "save_milliseconds_range": [round(1e3 * min(saves), 1), round(1e3 * max(saves), 1)],
        "write_seconds": round(median(writes), 4),
        "restore_seconds": round(restored, 4),
        "step_milliseconds": round(1e3 * median(steps), 1),
    }
