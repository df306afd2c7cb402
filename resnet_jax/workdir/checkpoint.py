"""Checkpoints: Orbax writes the arrays; fingerprints, fall-back and the choice of what to keep are ours.

Orbax has no checksum over array bytes: a flipped bit restores as wrong weights without an error. So each checkpoint
carries a fingerprint of its arrays, which is compared after every restore.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from resnet_jax.errors import InputError

Fingerprint = dict[str, list[int]]


@jax.jit
def _leaf_sums(leaf: jax.Array) -> jax.Array:
    width = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}[leaf.dtype.itemsize]
    bits = jax.lax.bitcast_convert_type(leaf, width).astype(jnp.uint32).reshape(-1)
    place = 2 * jax.lax.iota(jnp.uint32, bits.size) + 1
    return jnp.stack([bits.sum(dtype=jnp.uint32), (bits * place).sum(dtype=jnp.uint32)])


def fingerprint(tree: Any) -> Fingerprint:
    """Two integers for every array of the tree: the sum and the place-weighted sum of its bit patterns.

    The key is the array's path, type and shape.

    Sums modulo 2^32 do not depend on their order, so the fingerprint is the same however the arrays are divided over
    devices. A single flipped bit always changes it.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    # Array by array: a program for thousands of them would compile for minutes, and there are few shapes.
    sums = jax.device_get([_in_turn(leaf, _leaf_sums(leaf)) for _, leaf in leaves])
    return {_described(path, leaf): [int(n) for n in s] for (path, leaf), s in zip(leaves, sums, strict=True)}


def _in_turn(leaf: Any, sums: jax.Array) -> jax.Array:
    # Sums of divided arrays are sums over devices, and many such programs at a time lock each other out on XLA's CPU
    # backend, which then ends the process (seen with eight devices on two busy cores).
    divided = isinstance(leaf, jax.Array) and not leaf.is_fully_replicated
    return sums.block_until_ready() if divided else sums


def _described(path: Any, leaf: Any) -> str:
    return f"{jax.tree_util.keystr(path)} {leaf.dtype}{list(leaf.shape)}"


def digest(prints: Fingerprint) -> str:
    """Sixteen hexadecimal digits that stand for the whole fingerprint."""
    return hashlib.sha256(json.dumps(prints, sort_keys=True).encode()).hexdigest()[:16]


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
    """Orbax's manager of a folder of checkpoints, which writes in the background.

    Args:
        directory: absolute; it and its parents are made.
        keep: how many of the newest checkpoints stay.
        best_step: of the given steps, the one to keep besides; None for none.
    """
    _quieten()
    directory.mkdir(parents=True, exist_ok=True)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=KeepLatestAndBest(keep, best_step),
        cleanup_tmp_directories=True,
    )
    return ocp.CheckpointManager(directory, options=options)


def open_reader(directory: Path) -> ocp.CheckpointManager:
    """A manager that changes nothing, for a folder that another process may be writing."""
    _quieten()
    return ocp.CheckpointManager(directory, options=ocp.CheckpointManagerOptions(read_only=True, create=False))


def _quieten() -> None:
    # Orbax's INFO lines, and tracebacks of event loops that close after a failed restore, bury what a person reads.
    for name in ("absl", "asyncio", "orbax"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def save(manager: ocp.CheckpointManager, step: int, tree: Any, prints: Fingerprint | None = None) -> None:
    """Start writing the tree as checkpoint `step`; the arrays may be donated as soon as this returns.

    `prints` is the tree's fingerprint, where it is known.

    An error of the write itself (a full disk) is raised by the next save or by `manager.wait_until_finished()`.
    """
    if step in manager.all_steps():  # a signal may stop the run right after a regular checkpoint
        return
    items = ocp.args.Composite(
        state=ocp.args.StandardSave(tree), fingerprint=ocp.args.JsonSave(prints or fingerprint(tree))
    )
    manager.save(step, args=items)


def restore_newest(
    manager: ocp.CheckpointManager, target: Any, report: Callable[[str], None]
) -> tuple[int, Any] | None:
    """The newest undamaged checkpoint as (step, tree), or None when there is none at all.

    A damaged one is reported, set aside as `<step>.damaged`, and the one before is tried.

    Args:
        manager: of the folder.
        target: shapes, types and shardings of the tree, such as the initial state itself.
        report: gets one line for every damaged checkpoint.

    Raises:
        InputError: every checkpoint is damaged.
    """
    steps = sorted(manager.all_steps(), reverse=True)
    for step in steps:
        tree, problem = _try_restore(manager, step, target)
        if not problem:
            return step, tree
        folder = Path(manager.directory) / str(step)
        aside = _free_name(folder.with_name(f"{step}.damaged"))
        report(f"checkpoint {folder} is damaged ({problem}); it is set aside as {aside.name}")
        if jax.process_index() == 0:
            folder.rename(aside)
        multihost_utils.sync_global_devices("set a damaged checkpoint aside")
        manager.reload()
    if steps:
        raise InputError(
            f"{manager.directory}: every checkpoint is damaged ({', '.join(map(str, steps))}); "
            "restore one from a backup, or delete the folder to train from the start"
        )
    return None


def _free_name(path: Path) -> Path:
    names = [path, *(path.with_name(f"{path.name}.{n}") for n in range(2, 100))]
    return next(name for name in names if not name.exists())


def restore_step(manager: ocp.CheckpointManager, step: int, target: Any) -> Any:
    """The tree of checkpoint `step`.

    Raises:
        InputError: it is damaged.
    """
    tree, problem = _try_restore(manager, step, target)
    if problem:
        raise InputError(f"checkpoint {manager.directory}/{step} is damaged ({problem}); name another step")
    return tree


def stored_digest(manager: ocp.CheckpointManager, step: int) -> str:
    """The digest of checkpoint `step`, as it was written with it."""
    return digest(_restore_item(manager, step, fingerprint=ocp.args.JsonRestore()))


def _try_restore(manager: ocp.CheckpointManager, step: int, target: Any) -> tuple[Any, str]:
    """The tree and "", or what is wrong with the checkpoint."""
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, target)
    tree, problem = None, ""
    try:
        stored = _restore_item(manager, step, fingerprint=ocp.args.JsonRestore())
        _check_same_arrays(manager, step, stored, abstract)
        tree = _restore_item(manager, step, state=ocp.args.StandardRestore(abstract))
        if fingerprint(tree) != stored:
            problem = "its arrays do not match their fingerprint"
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Orbax raises ValueError, JSONDecodeError, KeyError or a bare Exception for damage
        if "RESOURCE_EXHAUSTED" in str(error):
            raise
        problem = next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]
    if jax.process_count() > 1:  # a process that alone sees the damage must not leave the others behind
        good = multihost_utils.process_allgather(np.array(not problem))
        problem = problem or ("" if good.all() else "another process could not read it")
    return tree, problem


def _restore_item(manager: ocp.CheckpointManager, step: int, **item: Any) -> Any:
    return manager.restore(step, args=ocp.args.Composite(**item))[next(iter(item))]


def _check_same_arrays(manager: ocp.CheckpointManager, step: int, stored: Fingerprint, target: Any) -> None:
    """Refuse to call a checkpoint damaged that only belongs to another network or another version of the code."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(target)
    if differ := sorted(stored.keys() ^ {_described(path, leaf) for path, leaf in leaves}):
        raise InputError(
            f"checkpoint {manager.directory}/{step} holds other arrays than this network and optimizer need "
            f"({len(differ)} differ, such as {differ[0]}); use the code and the options that it was written with"
        )
