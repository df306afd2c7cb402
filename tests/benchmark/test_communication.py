"""The model of docs/scaling.md: its rules, and that the page has its numbers."""

from pathlib import Path

import pytest

from experiments import benchmark
from resnet_jax.benchmark import communication
from resnet_jax.benchmark.communication import (
    DGX_H100,
    Cluster,
    all_reduce_seconds,
    efficiency,
    efficiency_row,
    exchange,
    exchange_row,
    sent_bytes,
    statistics_seconds,
)
from resnet_jax.errors import InputError
from resnet_jax.files.markdown_table import markdown_table
from resnet_jax.models.known_counts import known_counts

PAGE = (Path(__file__).parents[2] / "docs" / "scaling.md").read_text()


def test_a_ring_sends_nearly_twice_the_size_and_one_device_nothing():
    assert sent_bytes(100.0, 1) == 0
    assert sent_bytes(100.0, 2) == 100
    assert sent_bytes(100.0, 8) == 175


def test_a_sum_goes_through_the_nodes_and_then_between_them():
    cluster = Cluster(node=2, inner_rate=10.0, outer_rate=1.0, inner_wait=3.0, outer_wait=5.0, largest=50.0)
    assert all_reduce_seconds(40.0, 2, cluster) == 40 / 10 + 3
    # Of four devices in two nodes each sends its half to the other node; 80 bytes are two collectives.
    assert all_reduce_seconds(80.0, 4, cluster) == 80 / 10 + 40 / 1 + 2 * (3 + 5)


def test_what_is_hidden_costs_nothing_and_what_is_waited_for_does():
    assert efficiency(1.0, 0.5, hidden=2 / 3) == 1
    assert efficiency(1.0, 1.0, hidden=0.5) == pytest.approx(1 / 1.5)
    assert efficiency(1.0, 0.25) == 0.8
    assert efficiency(1.0, 0.5, 1.0, hidden=2 / 3) == 0.5


def test_resnet50_exchanges_its_parameters_and_the_statistics_of_53_normalizations():
    what = exchange("resnet50", 224)
    assert (what.gradients, what.norms) == (25_557_032, 53)
    assert what.statistics == 4 * 26_560  # channels of all normalizations: mean and square, there and back
    assert statistics_seconds(what, 8) > 106 * DGX_H100.inner_wait


@pytest.mark.parametrize("row", [exchange_row, efficiency_row])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_page_has_the_numbers(row, name):
    assert markdown_table(row(name), []).splitlines()[0] in PAGE


@pytest.mark.parametrize("name", communication.NETWORKS)
def test_the_page_has_every_networks_parameters_and_megabytes(name):
    count = known_counts()[name].parameters
    megabytes = 4 * count / 1e6
    assert f"| `{name}` | {count:,} | {megabytes:.1f} | {1.75 * megabytes:.1f} |" in PAGE


def test_the_command_prints_both_tables(monkeypatch, capsys):
    monkeypatch.setattr(communication, "NETWORKS", {"resnet20_cifar": 32, "resnet18": 224, "resnet50": 224})
    monkeypatch.setattr(communication, "MEGABYTES", {"resnet18": 79, "resnet50": 359})
    benchmark.main(["--mode=communication"])
    first, second = capsys.readouterr().out.strip().split("\n\n")
    assert [line.split("|")[1].strip() for line in first.splitlines()] == [
        *("network", "---", "`resnet20_cifar`", "`resnet18`", "`resnet50`")
    ]
    for line in (*first.splitlines(), *second.splitlines()):
        assert line in PAGE


@pytest.mark.parametrize("option", ["--sweep", "--against=true"])
def test_the_tables_are_no_measurement_that_could_be_repeated(option):
    with pytest.raises(InputError, match="leave out --sweep and --against"):
        benchmark.main(["--mode=communication", option])
