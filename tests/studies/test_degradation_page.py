"""docs/degradation.md has the table of the short study that its result files give."""

from pathlib import Path

from resnet_jax.studies.degradation_report import read_study, study_table

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_has_the_table_of_the_result_files():
    page = (DOCS / "degradation.md").read_text().splitlines()
    runs = read_study(DOCS / "measurements" / "reproduction" / "degradation-short")
    assert len(runs) > 1
    rows = [line for line in study_table(runs).splitlines() if line.startswith("| ")]
    assert [row for row in rows if row not in page] == []
