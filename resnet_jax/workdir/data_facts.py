"""Comparison of a run's data with those that it was started with."""

from pathlib import Path
from typing import Any

from resnet_jax.errors import InputError
from resnet_jax.workdir.folder import read_run_to_continue

# Facts of config.json that a run must find again when it continues, and what to call them.
DATA_FACTS = {
    "num_train": "training images",
    "num_test": "test images",
    "image_size": "pixels a side",
    "class_names": "classes",
    "train_examples": "the training images (a digest of their names)",
    "test_examples": "the test images (a digest of their names)",
    "mask_content": "the masks (a digest of the pixels of each class, and of sizes)",
}


def check_data_matches(workdir: Path, facts: dict[str, Any]) -> None:
    """Compare the data with those that the run in the folder was started with.

    A run's folder that does not hold some fact is not compared by it.

    Raises:
        InputError: they differ; the differences are named.
    """
    if (run := read_run_to_continue(workdir)) is None:
        return
    _, old = run
    differs = [
        _difference(name, old[name], facts[name])
        for name in DATA_FACTS
        if name in old and name in facts and not _equal(old[name], facts[name])
    ]
    if differs:
        raise InputError(
            f"--workdir={workdir} holds a run on other data: {'; '.join(differs)}; "
            "put the data back as they were, or name another folder"
        )


def _equal(old: Any, new: Any) -> bool:
    return list(old) == list(new) if isinstance(old, list | tuple) else old == new


def _difference(name: str, old: Any, new: Any) -> str:
    if not isinstance(old, list | tuple):
        return f"{DATA_FACTS[name]} differ" if isinstance(old, str) else f"{new} {DATA_FACTS[name]} where it has {old}"
    if len(old) != len(new):
        return f"{len(new)} classes where it has {len(old)}"
    k = next(k for k, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
    return f"class {k} is {new[k]!r} where it has {old[k]!r}"
