"""The metrics file survives crashes, and a run that goes on writes each row once."""

import json

import pytest

from resnet_jax.errors import InputError
from resnet_jax.workdir import metrics_log
from resnet_jax.workdir.metrics_log import (
    MetricsLog,
    append_row,
    best_step,
    check_rows,
    read_rows,
    row_sum,
    truncate_rows,
)


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


@pytest.mark.parametrize(
    "bad", ["{broken", "[1, 2]", '{"step": "1"}', '{"step": 1, "split": "eval", "lost": 1}', "\udcff"]
)
def test_a_bad_line_inside_drops_no_row_behind_it(tmp_path, bad):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps(row(1)), bad, json.dumps(row(3))]
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    assert read_rows(path) == [row(1), row(3)]
    reported = []
    assert truncate_rows(path, 3, report=reported.append) == [row(1), row(3)]
    assert "1 rows up to step 3 are lost or changed, the first in line 2" in reported[0]
    assert bad.encode(errors="surrogateescape") in (tmp_path / "metrics.jsonl.damaged").read_bytes()


def test_a_flipped_bit_of_a_row_is_noticed_when_the_run_continues(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [row(1), row(2, "eval"), row(3)]
    sums = [row_sum(one) for one in rows]
    whole = "".join(json.dumps(one) + "\n" for one in rows).encode()
    silent = []
    for at in range(0, 8 * len(whole), 13):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        reported = []
        kept = truncate_rows(path, 3, sums, reported.append)
        assert all(one in rows for one in kept)
        if len(kept) < 3 and not reported:
            silent.append(at)
    assert not silent


def test_a_row_that_the_checkpoint_does_not_know_is_written_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for one in [row(2), row(4), row(4, "eval")]:  # evaluated after checkpoint 4 was saved
        append_row(path, one)
    reported = []
    assert truncate_rows(path, 4, [row_sum(row(2)), row_sum(row(4))], reported.append) == [row(2), row(4)]
    assert reported == []


def test_a_lost_row_is_refused_where_a_checkpoint_is_chosen_by_the_log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_row(path, row(1))
    check_rows(path, [row_sum(row(1))])
    with pytest.raises(InputError, match="1 rows are lost or changed"):
        check_rows(path, [row_sum(row(1)), row_sum(row(2))])


def test_rows_that_cannot_be_written_are_kept_and_written_later(tmp_path, monkeypatch):
    path, reported = tmp_path / "metrics.jsonl", []
    log = MetricsLog(path, report=reported.append)
    log.add(row(1))

    def full(path, row):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metrics_log, "append_row", full)
    log.add(row(2))
    log.add(row(3))
    assert read_rows(path) == [row(1)]
    assert len(reported) == 1
    assert "No space left on device" in reported[0]
    monkeypatch.undo()
    log.add(row(4))
    assert read_rows(path) == [row(1), row(2), row(3), row(4)]
    assert log.sums == [row_sum(row(step)) for step in (1, 2, 3, 4)]


def test_a_tracker_that_fails_is_left_out_and_a_row_it_has_is_not_sent_again(tmp_path):
    received, reported = [], []

    def failing(row):
        raise ConnectionError("no server")

    log = MetricsLog(tmp_path / "m", trackers=[failing, received.append], tracked={(4, "eval")}, report=reported.append)
    for one in [row(4, "eval"), row(5), row(6)]:
        log.add(one)
    assert received == [row(5), row(6)]
    assert len(reported) == 1
