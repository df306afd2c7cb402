"""docs/reproduction.md has the table that its result files give."""

from pathlib import Path

from experiments import tables

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_has_the_table_of_the_result_files(capsys):
    tables.main(["--table=reproduction", f"--runs={DOCS / 'measurements' / 'reproduction'}"])
    page = (DOCS / "reproduction.md").read_text().splitlines()
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(printed) > 10
    assert [line for line in printed if line not in page] == []
