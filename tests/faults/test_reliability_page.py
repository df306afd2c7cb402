"""docs/reliability.md has a row for every fault, and names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reliability.md").read_text()


def test_every_fault_has_a_row_with_a_test():
    rows = {int(number): row for number, row in re.findall(r"^\| (\d+) (\|.*)$", PAGE, re.MULTILINE)}
    assert list(rows) == list(range(1, len(rows) + 1))
    assert len(rows) >= 31
    assert not [number for number, row in rows.items() if "test_" not in row.split("|")[3]]


def test_every_test_that_is_named_exists():
    missing, file = [], ""
    for path, name in re.findall(r"`((?:[a-z_0-9]+/)+test_\w+\.py)?(?:::(test_\w+))?`", PAGE):
        file = path or file
        source = ROOT / "tests" / file
        if (path or name) and (not source.exists() or (name and f"def {name}(" not in source.read_text())):
            missing.append(f"{file}::{name}")
    assert not missing
