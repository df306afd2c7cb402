"""The metrics file survives crashes, and a run that goes on writes each row once."""

import json

import pytest

from resnet_jax.workdir.metrics_log import append_row, best_step, read_rows, truncate_rows


def row(step: int, split: str = "train", top1: float = 0.5) -> dict:
    return {"step": step, "split": split, "top1": top1, "loss": 0.1 + 0.2}


def test_appended_rows_are_read_back_exactly(tmp_path):
    path = tmp_path / "metrics.jsonl"
    assert read_rows(path) == []
    rows = [row(1), row(2, "eval"), row(3)]
    for one in rows:
        append_row(path, one)
    assert read_rows(path) == rows
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows


def test_rows_behind_the_step_are_dropped_from_the_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for one in [row(2), row(4), row(4, "eval"), row(6), row(8)]:
        append_row(path, one)
    assert truncate_rows(path, 4) == [row(2), row(4), row(4, "eval")]
    append_row(path, row(5))
    assert [r["step"] for r in read_rows(path)] == [2, 4, 4, 5]


@pytest.mark.parametrize("cut", [1, 2, 10, 30])
def test_a_last_line_that_was_cut_off_is_left_out_and_no_later_row_is_glued_to_it(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    for one in [row(1), row(2)]:
        append_row(path, one)
    path.write_bytes(path.read_bytes()[:-cut])
    kept = [row(1), row(2)] if cut == 1 else [row(1)]  # the first byte lost is only the line's end
    assert truncate_rows(path, 2) == kept
    append_row(path, row(3))
    assert read_rows(path) == [*kept, row(3)]


def test_a_file_that_is_not_there_is_truncated_to_an_empty_one(tmp_path):
    assert truncate_rows(tmp_path / "metrics.jsonl", 5) == []
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_the_best_step_is_the_first_of_the_given_with_the_highest_evaluated_top1(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for one in [
        row(2, "eval", 0.6),
        row(4, "eval", 0.8),
        row(6, "eval", 0.8),
        row(6, "train", 1.0),
        row(8, "eval", 0.9),
    ]:
        append_row(path, one)
    assert best_step(path, [6, 2, 4]) == 4
    assert best_step(path, [2, 4, 6, 8, 10]) == 8
    assert best_step(path, [10, 12]) is None
    assert best_step(tmp_path / "missing.jsonl", [2]) is None
