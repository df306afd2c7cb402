"""A run's folder: who may write in it, what it was started with, and what it reached."""

import json
import subprocess
from contextlib import AbstractContextManager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import resnet_jax
from resnet_jax.config.options import Config, differences, read_config
from resnet_jax.errors import InputError
from resnet_jax.files import lock
from resnet_jax.files.atomic import write_atomically

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


def locked(workdir: Path) -> AbstractContextManager[None]:
    """Hold the folder for this process, which trains in it; it is made where it does not exist.

    Raises:
        InputError: another process holds it, or it cannot be written.
    """
    return lock.locked(workdir, "--workdir", "is training in it")


def check_config_matches(workdir: Path, config: Config) -> None:
    """Compare with the run that is in the folder, if there is one.

    Raises:
        InputError: it was started with other options; they are named.
    """
    if not (workdir / "config.json").exists():
        return
    old, _ = read_run_config(workdir)
    if differs := differences(old, config):
        raise InputError(
            f"--workdir={workdir} holds a run with other options ({', '.join(differs)}); "
            "name another folder for this one"
        )


def write_config(workdir: Path, config: Config, facts: dict[str, Any]) -> None:
    """Write config.json: every option, what was found out besides (`facts`), the code's commit, the versions.

    The one that is there stays: it says what the run was started with.
    """
    path = workdir / "config.json"
    if path.exists():
        return
    record = {
        "config": asdict(config),
        **facts,
        "git_commit": git_commit(),
        "versions": {"resnet_jax": resnet_jax.__version__} | {name: version(name) for name in PACKAGES},
    }
    write_atomically(path, json.dumps(record, indent=2) + "\n")


def read_run_config(workdir: Path) -> tuple[Config, dict[str, Any]]:
    """The config of the run in a folder, and the other facts of its config.json.

    Raises:
        InputError: there is no run there, or its config cannot be read.
    """
    path = workdir / "config.json"
    try:
        return read_config(path)
    except FileNotFoundError:
        raise InputError(f"--workdir={workdir}: there is no run in it (no config.json)") from None
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_result(workdir: Path) -> dict[str, Any] | None:
    """What a finished run reached, or None while it is not finished."""
    path = workdir / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def write_result(workdir: Path, result: dict[str, Any]) -> None:
    """Mark the run as finished."""
    write_atomically(workdir / "result.json", json.dumps(result, indent=2) + "\n")


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
