"""Compiled programs kept in a folder of the user's, so that a command that has run before begins without compiling.

jax's key of a program holds all that makes it: the code, jaxlib's version, the flags, the number and the kind of the
devices and, of CPUs, their instruction sets too (the fingerprint of the topology is another one under
`--xla_cpu_max_isa=AVX2`; jax 0.10.2). One folder therefore serves a home that machines of several kinds share.
"""

import os
import warnings
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache

# jax's own bound (jax_compilation_cache_max_size) needs another package, takes a lock at every program, and fails for
# good once a process is killed between the two files that it then writes for each.
MAX_BYTES = 2 * 2**30

FORCED_DEVICES = "xla_force_host_platform_device_count"  # the flag that makes several devices of a CPU

CHECKED = ".checked"  # what is older was found whole


def enable_cache() -> None:
    """Keep the programs that this process compiles, and use those kept before; call it before the first compilation.

    JAX's own variables win: JAX_COMPILATION_CACHE_DIR names another folder, which is left to its owner, or is empty,
    which keeps nothing. A folder that cannot be made or written is done without.

    Several devices of a CPU keep nothing: a training step that was read from the cache waited for ever in its
    collectives there (eight forced devices, jax 0.10.2).
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        if not os.environ["JAX_COMPILATION_CACHE_DIR"]:
            jax.config.update("jax_compilation_cache_dir", None)  # "" would be this folder to XLA's caches on GPUs
        return
    if FORCED_DEVICES in os.environ.get("XLA_FLAGS", "") or (folder := cache_folder(os.environ)) is None:
        return
    with suppress(OSError):  # another process may tidy up too
        remove_torn(folder)
        remove_oldest(folder, MAX_BYTES)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        # All of them: those of the quickstart are 28 and half a megabyte, most of them compiled in milliseconds, but
        # with any limit it would hang on what else the machine was doing which of them stay.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # What cannot be read is compiled, and what cannot be written will be again: nothing to tell anyone.
    warnings.filterwarnings("ignore", r"Error (reading|writing) persistent compilation cache entry")


def disable_cache() -> None:
    """Compile everything anew from now on, whatever was configured before; programs that were compiled stay."""
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()  # jax looks at the folder's name once, at its first compilation


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the folder of the programs, made where it is missing; None where it cannot be."""
    try:
        folder = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "resnet_jax" / "xla"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    return folder


def remove_torn(folder: Path) -> None:
    """Delete the programs, of those kept since the last time, of which only a part was written.

    jax would compile such a one at every start, and never write it anew.
    """
    stamp = folder / CHECKED
    since = stamp.stat().st_mtime_ns if stamp.exists() else 0
    began = [path for path in folder.glob("*-cache") if path.stat().st_mtime_ns >= since]
    stamp.touch()
    for path in began:
        if not _is_whole(path.read_bytes()):
            path.unlink(missing_ok=True)


def _is_whole(stored: bytes) -> bool:
    if not stored.startswith(b"x"):  # with zstandard installed it is not zlib's
        return bool(stored)
    try:
        zlib.decompress(stored)
    except zlib.error:
        return False
    return True


def remove_oldest(folder: Path, most: int) -> None:
    """Delete the programs that have not been used for longest, until the others take `most` bytes or less."""
    files = [(path.stat(), path) for path in folder.rglob("*") if path.is_file()]
    total = 0
    # The time of reading, which many file systems note once a day; those that do not note it at all: of writing.
    for status, path in sorted(files, key=lambda f: max(f[0].st_atime, f[0].st_mtime), reverse=True):
        total += status.st_size
        if total > most:
            path.unlink(missing_ok=True)
