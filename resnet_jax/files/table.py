"""Tables as CSV files."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from resnet_jax.errors import InputError
from resnet_jax.files.atomic import write_atomically


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write or replace a table atomically.

    Raises:
        InputError: it cannot be written.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    try:
        write_atomically(path, table.getvalue())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); make room, or name another --out") from error
