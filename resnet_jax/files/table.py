"""Tables as CSV files."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from resnet_jax.errors import InputError
from resnet_jax.files.atomic import write_atomically


def refuse_other_table(path: Path, header: Sequence[str]) -> None:
    """Refuse to replace a file that is not a table with this header, before anything is computed for it.

    Raises:
        InputError: there is such a file, or it cannot be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            found = next(csv.reader(file), [])
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, csv.Error):
        found = []
    if found != list(header):
        raise InputError(
            f"{path} is not a report's table and would be replaced; move it, or write the report elsewhere, "
            "--out=FOLDER/report.html"
        )


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
