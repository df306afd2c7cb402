"""Room for open files, of sets that keep one open for every shard."""

from contextlib import suppress

from resnet_jax.errors import InputError

SPARE = 64  # other files that a training has open: its log, checkpoints, devices and pipes to its workers


def make_room(count: int, place: str) -> None:
    """Raise the soft limit on this process's open files by `count`, or to its hard limit; workers inherit it.

    By the count, and not to it: training and validation are opened one after the other, and their files only when a
    record is read.

    Args:
        count: of the shards.
        place: the set, for errors.

    Raises:
        InputError: the hard limit is too low for so many.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if hard != unlimited and count + SPARE > hard:
        raise InputError(
            f"{place} has {count:,} shards, which stay open, but this process may open {hard:,} files at most; raise "
            f"the hard limit: ulimit -n {count + SPARE} (docker run --ulimit nofile={count + SPARE})"
        )
    if soft == unlimited:
        return
    wanted = soft + count if hard == unlimited else min(soft + count, hard)
    with suppress(ValueError, OSError):  # macOS calls the hard limit unlimited and refuses more than its kernel's own
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
