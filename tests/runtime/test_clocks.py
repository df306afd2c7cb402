"""Clocks: durations are measured by one that never jumps."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "resnet_jax"


def test_only_the_dates_of_a_report_and_of_a_run_are_read_from_the_clock_of_the_day():
    wall = re.compile(r"\btime\.time(_ns)?\(|\b(datetime|date)\.(now|today|utcnow)\(")
    readers = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if wall.search(path.read_text())}
    assert readers == {"evaluation/page.py", "workdir/folder.py"}
