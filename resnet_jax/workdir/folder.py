"""A run's folder: who may write in it, what the run was started with, and its result."""

import os
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import resnet_jax
from resnet_jax.config.options import Config, differences, from_json
from resnet_jax.config.training_options import LearningRateOptions
from resnet_jax.errors import InputError
from resnet_jax.files.lock import lock_folder
from resnet_jax.workdir.metrics_log import read_rows
from resnet_jax.workdir.sealed import read_sealed, write_sealed
from resnet_jax.workdir.trackers import WANDB_ID

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "pillow",
    "simplejpeg",
)

# Facts of a run: whether a checkpoint of it was ever whole, and that it ended with an error before. Other options may
# then begin in its folder. Older versions noted only that it diverged.
SAVED, FAILED, DIVERGED = "saved", "failed_before_saving", "diverged"

# Options in which a run that trains on from another's weights differs from it.
EXTENSION_OPTIONS = ("epochs", "steps", *(field.name for field in fields(LearningRateOptions)))


def locked(workdir: Path) -> AbstractContextManager[None]:
    """Hold the folder for this process, which trains in it; it is made where it does not exist.

    Raises:
        InputError: another process holds it, or it cannot be written.
    """
    return lock_folder(workdir, "--workdir", "is training in it")


# Options that are a path, or the name of a network, or of weights on the hub; in runs of older versions relative.
INPUTS = ("teacher", "teacher_weights", "init_from", "colors")


def check_config_matches(workdir: Path, config: Config) -> None:
    """Compare with the run that is in the folder, if there is one.

    Raises:
        InputError: it was started with other options, which are named, or its config.json is lost or damaged.
    """
    is_lost = not (workdir / "config.json").exists()
    if is_lost and (has_checkpoints(workdir) or read_rows(workdir / "metrics.jsonl")):
        raise InputError(
            f"--workdir={workdir} holds a run without its config.json; "
            "restore that from a backup, or name another folder"
        )
    if (run := read_run_to_continue(workdir)) is None:
        return
    config = with_absolute_paths(config)
    for name in INPUTS:  # a relative path of weights that are gone: the checkpoints hold what was made of them
        if str(Path(getattr(config, name)).absolute()) == getattr(run[0], name):
            config = replace(config, **{name: getattr(run[0], name)})
    if differs := differences(with_absolute_paths(run[0]), config):
        raise InputError(
            f"--workdir={workdir} holds a run with other options ({', '.join(differs)}); "
            f"{extension(workdir, run[0], config) or 'name another folder for this one'}"
        )


def extension(workdir: Path, old: Config, new: Config) -> str:
    """Return how to train on from a run where that is all that other options ask for; else ""."""
    unit = "steps" if old.steps or new.steps else "epochs"
    more = getattr(new, unit) - getattr(old, unit)
    as_new: dict[str, Any] = {name: getattr(new, name) for name in EXTENSION_OPTIONS}
    if more <= 0 or not getattr(old, unit) or differences(with_absolute_paths(replace(old, **as_new)), new):
        return ""
    average = " --weights_key=ema" if (old.ema or old.ema_fraction) and not old.lookahead else ""
    return (
        "its schedule is that of its length, so that more of it is a run of its own, which starts from these weights: "
        f"the same command with --workdir=NEW --init_from={workdir} --init_checkpoint=best{average} "
        f"--{unit}={more:.10g}"
    )


def check_may_begin(workdir: Path, third_save: float) -> None:
    """Refuse to train from the start in a folder whose checkpoints were lost.

    Args:
        workdir: the run's folder, in which no checkpoint was found.
        third_save: the step of a run's third checkpoint, for runs of older versions, which did not note their first.
            Once the third began to be written, the first was on the disk; before that, a kill may leave a log and no
            checkpoint.

    Raises:
        InputError: there were checkpoints.
    """
    rows = read_rows(workdir / "metrics.jsonl")
    if not rows:
        return
    saved = read_run_config(workdir)[1].get(SAVED, any(row["step"] > third_save for row in rows))
    if saved or not (workdir / "checkpoints").is_dir():
        raise InputError(
            f"{workdir}: metrics.jsonl has rows up to step {max(row['step'] for row in rows)}, but there is no "
            "checkpoint; restore checkpoints/ from a backup, or name another --workdir to train from the start"
        )


def has_checkpoints(workdir: Path) -> bool:
    """Return whether the folder holds checkpoints, good or set aside; one that was never finished is none.

    Raises:
        OSError: that cannot be read, which is not the same as none.
    """
    folder = workdir / "checkpoints"
    names = os.listdir(folder) if folder.is_dir() else []
    return any(name.isdigit() or ".damaged" in name for name in names)


def read_run_to_continue(workdir: Path) -> tuple[Config, dict[str, Any]] | None:
    """Return what `read_run_config` does; None where there is no run, or one that failed before anything was saved.

    Raises:
        InputError: its config cannot be read or is not as it was written.
    """
    if not (workdir / "config.json").exists():
        return None
    config, facts = read_run_config(workdir)
    failed = FAILED in facts or DIVERGED in facts
    return None if failed and not has_checkpoints(workdir) else (config, facts)


def mark_saved(workdir: Path) -> None:
    """Note in config.json that there was a whole checkpoint, in runs of this version."""
    with suppress(OSError, InputError):  # a full disk, or a folder that is gone: others say so
        path = workdir / "config.json"
        if (record := read_sealed(path, "")).get(SAVED) is False:
            write_sealed(path, record | {SAVED: True})


def mark_failed(workdir: Path) -> None:
    """Note in config.json that the run ended with an error, where nothing of it was saved."""
    with suppress(OSError, InputError):
        path = workdir / "config.json"
        if not has_checkpoints(workdir):
            write_sealed(path, read_sealed(path, "") | {FAILED: True})


def write_config(workdir: Path, config: Config, facts: dict[str, Any]) -> None:
    """Write config.json: every option, what else was found out (`facts`), the time, the code's commit, the versions.

    The one that is there stays: it records what the run was started with. That of a run that failed before anything was
    saved is replaced, its log set aside, and its name at a tracker forgotten.

    Raises:
        InputError: it cannot be written.
    """
    path, log = workdir / "config.json", workdir / "metrics.jsonl"
    if read_run_to_continue(workdir) is not None:
        return
    if path.exists() and log.exists():
        os.replace(log, log.with_name(f"{log.name}.failed"))
        (workdir / WANDB_ID).unlink(missing_ok=True)
    record = {
        "config": asdict(with_absolute_paths(config)),
        **facts,
        SAVED: False,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "versions": versions(),
    }
    write_sealed(path, record)


def with_absolute_paths(config: Config) -> Config:
    """Return the config with absolute paths of its inputs, so that they are found from any folder."""

    def absolute(path: str) -> str:
        return str(Path(path).absolute()) if path and "://" not in path else path

    inputs = {"data_dir": absolute(config.data_dir)}
    for name in INPUTS:
        if Path(value := getattr(config, name)).exists():
            inputs[name] = absolute(value)
    return replace(config, **inputs)


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str | None]:
    """Return the versions of this package and of others, by default those that a run's numbers depend on.

    None of one that is not installed; wheels unpacked by hand are on the path without being installed.
    """
    found: dict[str, str | None] = {"resnet_jax": resnet_jax.__version__}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def other_code(workdir: Path) -> str:
    """Return a line on the code with which the run in the folder was started, where it is not this one; else ""."""
    _, facts = read_run_config(workdir)
    now = {"commit": git_commit(), **versions()}
    then = {"commit": facts.get("git_commit"), **facts.get("versions", {})}
    differs = [f"{name} {then[name]}, now {now[name]}" for name in now if then.get(name) and then[name] != now[name]]
    return f"the run was started with other code: {'; '.join(differs)}" if differs else ""


def is_run(path: str | Path) -> bool:
    """Return whether there is a run's folder: other folders of weights have a config.json too, but no checkpoints."""
    return (Path(path) / "config.json").is_file() and (Path(path) / "checkpoints").is_dir()


def read_run_config(workdir: Path) -> tuple[Config, dict[str, Any]]:
    """Return the config of the run in a folder, and the other facts of its config.json.

    Raises:
        InputError: there is no run there, or its config cannot be read or is not as it was written.
    """
    path = workdir / "config.json"
    try:
        record = read_sealed(path, 'restore it from a backup, or, if you changed it yourself, remove its "digest"')
        if "config" not in record:
            raise InputError(f"--workdir={workdir}: there is no run in it (its config.json is of something else)")
        return from_json(record.pop("config")), record
    except FileNotFoundError:
        raise InputError(f"--workdir={workdir}: there is no run in it (no config.json)") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_result(workdir: Path) -> dict[str, Any] | None:
    """Return the result of a finished run, or None while it is not finished.

    Raises:
        InputError: result.json is cut off or altered.
    """
    remedy = "delete it, and the same command writes it anew from the last checkpoint"
    try:
        return read_sealed(workdir / "result.json", remedy)
    except FileNotFoundError:
        return None


def write_result(workdir: Path, result: dict[str, Any]) -> None:
    """Mark the run as finished.

    Raises:
        InputError: the disk is full, or the folder is gone.
    """
    write_sealed(workdir / "result.json", result)


def git_commit() -> str | None:
    """Return the commit of the running code, with a + when files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        # An installed package may lie in another project's checkout, whose commit says nothing of it.
        tracked = ["git", "ls-files", "--error-unmatch", Path(__file__).name]
        subprocess.run(tracked, cwd=here, capture_output=True, check=True)
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], cwd=here, capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")
