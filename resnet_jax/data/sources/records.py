"""Records of array_record shards: one that is damaged is one line, with the set and the record's number."""

import errno
import os
import struct
from collections.abc import Callable
from typing import Any

from resnet_jax.errors import InputError


def read_record(
    records: Any, index: int, name: str, remedy: str, unpack: Callable[[Any], Any] = lambda record: record
) -> Any:
    """Return one record, unpacked.

    Args:
        records: a data source over the shards.
        index: of the record.
        name: of the set and its split, for errors.
        remedy: for a damaged shard.
        unpack: of the record as it is stored.

    Raises:
        IndexError: there is no such record, which ends a loop over a source.
        InputError: it cannot be read.
    """
    if not 0 <= index < len(records):
        raise IndexError(index)
    try:
        return unpack(records[index])
    except (RuntimeError, ValueError, struct.error) as error:  # array_record's own is a RuntimeError of several lines
        if os.strerror(errno.EMFILE) in str(error):  # training and validation together, or with what else is open
            raise InputError(
                f"{name} example {index} cannot be read: too many files are open; raise the limit, ulimit -n"
            ) from error
        raise InputError(f"{name} example {index} cannot be read: a shard is damaged; {remedy}") from error
