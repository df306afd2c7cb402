"""Clocks: durations are measured by one that never jumps."""

import re
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "resnet_jax"


def test_nothing_but_a_reports_date_is_read_from_the_clock_of_the_day():
    wall = re.compile(r"\btime\.time(_ns)?\(|\b(datetime|date)\.(now|today|utcnow)\(")
    readers = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if wall.search(path.read_text())}
    assert readers == {"evaluation/page.py"}
