"""docs/reproduction.md has the table that its result files give."""

from pathlib import Path

import pytest

from experiments import tables
from resnet_jax.models.counts import multiply_adds
from resnet_jax.models.registry import create_model
from resnet_jax.studies.reproduction import EQUAL_COMPUTE

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_has_the_table_of_the_result_files(capsys):
    tables.main(["--table=reproduction", f"--runs={DOCS / 'measurements' / 'reproduction'}"])
    page = (DOCS / "reproduction.md").read_text().splitlines()
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(printed) > 10
    assert [line for line in printed if line not in page] == []


def test_equal_compute_is_equal():
    total = {name: 64 * steps * multiply_adds(create_model(name), 32) for name, steps in EQUAL_COMPUTE.items()}
    assert total["resnet32_cifar"] == pytest.approx(6.9e12, rel=0.005)
    assert list(total.values()) == pytest.approx([total["resnet32_cifar"]] * 3, rel=0.002)
