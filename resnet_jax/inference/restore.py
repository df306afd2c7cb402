"""Restoring the trained network of a run from its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flax import linen as nn

from resnet_jax.config.options import Config, thaw_step
from resnet_jax.errors import InputError
from resnet_jax.models.build import build_model
from resnet_jax.models.resnet.scan import unrolled
from resnet_jax.optim.build import build_optimizer
from resnet_jax.runtime.sharding import data_mesh
from resnet_jax.tasks.build import build_task
from resnet_jax.training.state import abstract_checkpoint
from resnet_jax.workdir import checkpoint, metrics_log
from resnet_jax.workdir.folder import read_run_config
from resnet_jax.workdir.verified_log import recorded_sums

# A training keeps at least its newest checkpoint, so that a second look finds one.
ATTEMPTS = 5


@dataclass(frozen=True)
class Restored:
    """A run's network at a checkpoint.

    Attributes:
        config: of the run.
        facts: what else config.json has.
        model: the network, unrolled.
        variables: its trained variables.
        step: of the checkpoint.
    """

    config: Config
    facts: dict[str, Any]
    model: nn.Module
    variables: dict[str, Any]
    step: int


def restore_run(
    workdir: str | Path, which: str | int = "newest", *, ema: bool = False
) -> tuple[Config, nn.Module, dict[str, Any]]:
    """Return the config, the network and the trained variables of a run, finished or not.

    Nothing in the folder is changed, so that it may be used while the run still trains.

    Args:
        workdir: the run's folder.
        which: "newest", "best" (the highest evaluated top-1 or mean IoU among the checkpoints that are kept), or a
            step.
        ema: return the average of the weights instead of the weights themselves.

    Returns:
        (config, model, variables): `model.apply(variables, images)` takes normalized float32 images. The model is
        unrolled, whatever the config says of scan and remat: an analysis watches every block by its name.

    Raises:
        InputError: there is no run, no such checkpoint, it is damaged, or no average was kept.
    """
    found = restore(workdir, which, ema=ema)
    return found.config, found.model, found.variables


def restore(workdir: str | Path, which: str | int = "newest", *, ema: bool = False) -> Restored:
    """Return the network of a run, and all that its folder says of it; arguments and errors are `restore_run`'s."""
    workdir = Path(workdir).absolute()
    config, facts = read_run_config(workdir)
    if missing := [name for name in ("class_names", "image_size") if name not in facts]:
        raise InputError(f"{workdir / 'config.json'} lacks {' and '.join(missing)}; restore it from a backup")
    model = build_model(config, len(facts["class_names"]))
    # Folders of older versions do not know their count, and have nothing in the state that depends on it.
    optimizer = build_optimizer(config, facts.get("num_train", 1))
    averaged = optimizer.ema is not None
    if ema and not averaged:
        raise InputError(f"{workdir}: this run kept no average of its weights (that is training's --ema)")
    mesh = data_mesh()
    coding = facts.get("mask_coding")
    task = build_task(config, facts["class_names"], binary=bool(coding and coding["binary"]))
    size = facts["image_size"]
    target = abstract_checkpoint(model, optimizer.tx, size, mesh, task.zero_sums, with_ema=averaged)
    state = _restored_state(workdir, which, target)
    return Restored(config, facts, unrolled(model), state.ema if ema else state.variables, int(state.step))


def _restored_state(workdir: Path, which: str | int, target: Any) -> Any:
    """Return the state of a checkpoint; a training beside may delete its older ones meanwhile.

    Raises:
        InputError: as `restore_run`.
    """
    with checkpoint.open_reader(workdir / "checkpoints") as manager:
        for _ in range(ATTEMPTS):
            steps = sorted(manager.all_steps())
            step = _chosen_step(workdir, which, steps)
            if which == "best":
                _check_log(workdir, manager, steps[-1])
            try:
                return checkpoint.restore_step(manager, step, target)["state"]
            except FileNotFoundError:
                manager.reload()
    raise InputError(f"--workdir={workdir}: its training deletes checkpoints faster than they are read; try again")


def _chosen_step(workdir: Path, which: str | int, steps: list[int]) -> int:
    named = {
        "newest": steps[-1] if steps else None,
        "best": metrics_log.best_step(workdir / "metrics.jsonl", steps),
    }
    step = named.get(str(which), int(which) if str(which).isdecimal() else None)
    if step is None or step not in steps:
        there = f"there are {', '.join(map(str, steps))}" if steps else "there is none"
        raise InputError(f"{workdir}: no checkpoint {which!r}; {there}")
    return step


def _check_log(workdir: Path, manager: Any, newest: int) -> None:
    """Refuse to choose by a log that is not as it was when the newest checkpoint was saved."""
    if (sums := recorded_sums(manager, newest)) is not None:
        metrics_log.check_rows(workdir / "metrics.jsonl", sums)


def frozen_at(step: int, config: Config, num_train: int) -> str:
    """Return what --freeze still kept in the last of a run's first `step` steps; empty: nothing, or no longer."""
    return "" if 0 < thaw_step(config, num_train) < step else config.freeze
