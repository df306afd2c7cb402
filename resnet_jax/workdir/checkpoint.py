"""Checkpoints: Orbax writes the arrays; what is kept, what is whole and what to fall back to is decided here.

Orbax has no checksum over array bytes: a flipped bit restores as wrong weights without an error. So each checkpoint
carries a fingerprint of its arrays, which is compared after every restore, and a record of its step and of what the
training had logged by then.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from resnet_jax.errors import InputError
from resnet_jax.workdir.damaged import check_readable, is_damage, names_set_aside, set_aside
from resnet_jax.workdir.fingerprint import Fingerprint, described, fingerprint
from resnet_jax.workdir.quiet import one_line, quieten
from resnet_jax.workdir.sealed import digest_of, seal, unseal


class KeepLatestAndBest:
    """Orbax's preservation policy: the newest `keep` checkpoints, and the one that `best_step` names at the time."""

    def __init__(self, keep: int, best_step: Callable[[Sequence[int]], int | None]):
        self.keep, self.best_step = keep, best_step

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        steps = [c.step for c in checkpoints]
        kept = {*sorted(steps)[-self.keep :], self.best_step(steps)}
        return [step in kept for step in steps]


def open_manager(
    directory: Path, *, keep: int = 1, best_step: Callable[[Sequence[int]], int | None] = lambda steps: None
) -> ocp.CheckpointManager:
    """Return Orbax's manager of a folder of checkpoints, which writes in the background.

    Args:
        directory: absolute; it and its parents are made.
        keep: how many of the newest checkpoints stay.
        best_step: of the given steps, the one to keep too; None for none.

    Raises:
        InputError: the folder cannot be made.
    """
    quieten()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory} cannot be made ({error.strerror}); name another --workdir") from error
    options = ocp.CheckpointManagerOptions(
        preservation_policy=KeepLatestAndBest(keep, best_step),
        cleanup_tmp_directories=True,
    )
    return ocp.CheckpointManager(directory, options=options)


def open_reader(directory: Path) -> ocp.CheckpointManager:
    """Return a manager that changes nothing, for a folder that another process may be writing."""
    quieten()
    return ocp.CheckpointManager(directory, options=ocp.CheckpointManagerOptions(read_only=True, create=False))


def save(
    manager: ocp.CheckpointManager,
    step: int,
    tree: Any,
    prints: Fingerprint | None = None,
    record: dict[str, Any] | None = None,
) -> None:
    """Start writing the tree as checkpoint `step`, unless there is one; the arrays may be donated once this returns.

    An error of the write itself (a full disk) is raised by the next save or by `manager.wait_until_finished()`.

    Args:
        manager: of the folder.
        step: its number.
        tree: arrays.
        prints: their fingerprint, where it is known.
        record: JSON values to keep beside them.
    """
    if step in manager.all_steps():
        return
    items = ocp.args.Composite(
        state=ocp.args.StandardSave(jax.tree.map(_on_one_device, tree)),
        fingerprint=ocp.args.JsonSave(fingerprint(tree) if prints is None else prints),
        record=ocp.args.JsonSave(seal({"step": step, **(record or {})})),
    )
    manager.save(step, args=items)


def _on_one_device(array: Any) -> Any:
    # Of an array that every device of this process holds, Orbax would take a slice from each device, by a program for
    # each slice of each shape: on eight devices a first save compiled 120 of them, in 6 s, to write 0.3 MB.
    whole = isinstance(array, jax.Array) and array.is_fully_replicated and array.is_fully_addressable
    return array.addressable_data(0) if whole else array


def restore_newest(
    manager: ocp.CheckpointManager, target: Any, report: Callable[[str], None]
) -> tuple[int, Any] | None:
    """Return the newest good checkpoint as (step, tree), or None when there never was one.

    Damaged ones that are newer are reported and set aside as `<step>.damaged`, but only once a good one is found.

    Args:
        manager: of the folder.
        target: shapes, types and shardings of the tree, such as the initial state itself.
        report: receives one line for every damaged checkpoint.

    Raises:
        InputError: every checkpoint is damaged, or one cannot be read.
    """
    directory = Path(manager.directory)
    damaged: list[tuple[int, str]] = []
    for step in sorted(manager.all_steps(), reverse=True):
        tree, problem = _try_restore(manager, step, target)
        if not problem:
            if damaged:
                set_aside(directory, damaged, report)
                manager.reload()
            return step, tree
        damaged.append((step, problem))
    if damaged:
        steps, (_, problem) = ", ".join(str(step) for step, _ in damaged), damaged[0]
        raise InputError(
            f"{directory}: every checkpoint is damaged ({steps}; the newest: {problem}); "
            "restore one from a backup, or name another --workdir to train from the start"
        )
    if aside := names_set_aside(directory):
        raise InputError(
            f"{directory} holds damaged checkpoints only ({', '.join(aside)}); "
            "restore one from a backup, or name another --workdir to train from the start"
        )
    return None


def restore_step(manager: ocp.CheckpointManager, step: int, target: Any) -> Any:
    """Return the tree of checkpoint `step`.

    Raises:
        InputError: it is damaged or cannot be read.
        FileNotFoundError: it was deleted, as a training beside does with its older ones.
    """
    tree, problem = _try_restore(manager, step, target)
    if problem and not (Path(manager.directory) / str(step)).exists():
        raise FileNotFoundError(f"{manager.directory}/{step}")
    if problem:
        raise InputError(f"checkpoint {manager.directory}/{step} is damaged ({problem}); name another step")
    return tree


def stored_digest(manager: ocp.CheckpointManager, step: int) -> str:
    """Return the digest of checkpoint `step`, as it was written with it."""
    return digest_of(_restore_item(manager, step, fingerprint=ocp.args.JsonRestore()))


def stored_record(manager: ocp.CheckpointManager, step: int) -> dict[str, Any]:
    """Return what was recorded beside checkpoint `step`; {} for one without a record.

    Raises:
        ValueError: it is damaged, or the checkpoint is that of another step.
    """
    if not (Path(manager.directory) / str(step) / "record").is_dir():
        return {}
    record = unseal(_restore_item(manager, step, record=ocp.args.JsonRestore()))
    if record["step"] != step:
        raise ValueError(f"it is the checkpoint of step {record['step']} under another name")
    return record


GOOD, DAMAGED, UNREADABLE = range(3)


def _try_restore(manager: ocp.CheckpointManager, step: int, target: Any) -> tuple[Any, str]:
    """Return the tree and "", or None and what is wrong with the checkpoint.

    Raises:
        InputError: it cannot be read, which proves no damage, or it belongs to another network.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, target)
    tree, problem, verdict = None, "", GOOD
    try:
        check_readable(Path(manager.directory) / str(step))
        stored = _restore_item(manager, step, fingerprint=ocp.args.JsonRestore())
        _check_same_arrays(manager, step, stored, abstract)
        stored_record(manager, step)
        tree = _restore_item(manager, step, state=ocp.args.StandardRestore(abstract))
        if fingerprint(tree) != stored:
            problem = "its arrays do not match their fingerprint"
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Orbax raises ValueError, JSONDecodeError, KeyError or a bare Exception for damage
        if "RESOURCE_EXHAUSTED" in str(error):
            raise
        problem, verdict = one_line(error), DAMAGED if is_damage(error) else UNREADABLE
    verdict = max(verdict, DAMAGED) if problem else verdict
    if jax.process_count() > 1:  # a process that alone finds the damage must not leave the others behind
        verdicts = multihost_utils.process_allgather(np.array(verdict))
        verdict = int(verdicts.max())
        problem = problem or ("another process could not read it" if verdict else "")
    if verdict == UNREADABLE:
        raise InputError(
            f"checkpoint {manager.directory}/{step} cannot be read ({problem}), which does not make it a damaged one; "
            "make its files readable, and run the same command again"
        )
    return (None if problem else tree), problem


def _restore_item(manager: ocp.CheckpointManager, step: int, **item: Any) -> Any:
    return manager.restore(step, args=ocp.args.Composite(**item))[next(iter(item))]


def _check_same_arrays(manager: ocp.CheckpointManager, step: int, stored: Fingerprint, target: Any) -> None:
    """Refuse a whole checkpoint of another network or another version of the code, which is not damage."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(target)
    if differ := sorted(stored.keys() ^ {described(path, leaf) for path, leaf in leaves}):
        raise InputError(
            f"checkpoint {manager.directory}/{step} holds other arrays than this network and optimizer need "
            f"({len(differ)} differ, such as {differ[0]}); use the code and the options that it was written with"
        )
