"""A run continues on its own options, data and files, or says in one line what is not its own."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import resnet_jax
from resnet_jax.errors import InputError, InterruptedRunError, NonFiniteError
from resnet_jax.inference import restore
from resnet_jax.run.train import after_divergence, train
from resnet_jax.workdir import checkpoint, folder
from resnet_jax.workdir.sealed import read_sealed, seal, write_sealed
from tests.faults.processes import metrics
from tests.faults.toy import config


@pytest.fixture
def home(original, tmp_path) -> Path:
    """A copy, elsewhere: the data may be moved as a whole."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


def contents(workdir: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in workdir.rglob("*") if path.is_file() and path.name != ".lock"}


def refused(home: Path, match: str, **options: Any) -> None:
    """Continuing is refused in one line, twice alike, and changes nothing."""
    before = contents(home / "run")
    for _ in range(2):
        with pytest.raises(InputError, match=match) as caught:
            train(config(home, **options))
        assert "\n" not in str(caught.value)
    assert contents(home / "run") == before


def test_the_run_continues_and_ends_as_it_did(home, original):
    assert train(config(home))["fingerprint"] == read_sealed(original / "result.json", "")["fingerprint"]
    rows = (home / "run" / "metrics.jsonl").read_text().splitlines()
    assert rows == (original / "run" / "metrics.jsonl").read_text().splitlines()


@pytest.mark.slow
def test_an_evaluation_that_a_signal_cuts_short_is_neither_logged_nor_lost(home, original, monkeypatch):
    shutil.rmtree(home / "run" / "checkpoints" / "4")
    answers = iter([False])  # of the first batch; then the signal has come
    monkeypatch.setitem(train.__globals__, "stop_signal", lambda: nullcontext(lambda step: next(answers, True)))
    with pytest.raises(InterruptedRunError):
        train(config(home))
    rows = metrics(home / "run")
    assert [(row["step"], row["split"]) for row in rows] == [(1, "train"), (2, "train")]
    monkeypatch.undo()
    train(config(home))
    assert metrics(home / "run") == metrics(original / "run")


def test_other_data_are_refused_and_named(home):
    photographs = home / "photographs"
    (photographs / "train" / "dark" / "3.png").rename(photographs / "train" / "dark" / "33.png")
    refused(home, r"other data: the training images \(a digest of their names\) differ; put the data back")
    (photographs / "train" / "dark" / "33.png").unlink()
    (photographs / "val" / "light" / "0.png").unlink()
    refused(home, "other data: 11 training images where it has 12; 11 test images where it has 12; ")


def test_renamed_classes_are_refused_and_named(home):
    for split in ("train", "val"):
        (home / "photographs" / split / "light").rename(home / "photographs" / split / "bright")
    refused(home, "class 0 is 'bright' where it has 'dark'")


def test_a_run_without_facts_of_its_data_continues(home):
    path = home / "run" / "config.json"
    record = read_sealed(path, "")
    for name in ("num_train", "num_test", "train_examples", "test_examples"):
        del record[name]
    path.write_text(json.dumps(record))  # as it was written before it had a digest
    before = path.read_bytes()
    assert train(config(home))["step"] == 4
    assert path.read_bytes() == before


def test_other_code_is_one_line_and_no_refusal(home, capsys):
    path = home / "run" / "config.json"
    write_sealed(path, read_sealed(path, "") | {"git_commit": "0123456"})
    train(config(home))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "other code" in line]
    assert line.startswith("the run was started with other code: commit 0123456, now ")


def test_a_lost_config_is_refused(home):
    (home / "run" / "config.json").unlink()
    refused(home, "holds a run without its config.json; restore that from a backup")
    shutil.rmtree(home / "run" / "checkpoints")  # a log alone is somebody's, too
    refused(home, "holds a run without its config.json", seed=3)


def test_an_option_that_is_unknown_is_named_by_every_reader(home):
    path = home / "run" / "config.json"
    record = read_sealed(path, "")
    write_sealed(path, record | {"config": record["config"] | {"colour": 3}})
    refused(home, r"config.json cannot be read: .*unexpected keyword argument 'colour'")
    with pytest.raises(InputError, match=r"config.json cannot be read: .*'colour'"):
        resnet_jax.restore_run(home / "run")


def test_a_checkpoint_behind_the_last_step_is_refused(home):
    path = home / "run" / "config.json"
    record = read_sealed(path, "")
    write_sealed(path, record | {"config": record["config"] | {"steps": 3}})
    refused(home, "checkpoints/4 lies behind the last step of this training, 3; name another --workdir", steps=3)


def test_a_flipped_bit_of_the_config_is_noticed_by_every_reader(home):
    path = home / "run" / "config.json"
    path.write_text(path.read_text().replace('"image_size": 8', '"image_size": 9', 1))
    refused(home, "config.json is damaged .*digest.*restore it from a backup")
    with pytest.raises(InputError, match=r"config.json is damaged"):
        folder.read_run_config(home / "run")


def test_lost_checkpoints_are_no_reason_to_begin_again(home):
    shutil.rmtree(home / "run" / "checkpoints")
    refused(home, "metrics.jsonl has rows up to step 4, but there is no checkpoint; restore checkpoints/ from a backup")


def test_a_log_beyond_the_third_checkpoint_is_no_new_run(home):
    for path in (home / "run" / "checkpoints").iterdir():
        shutil.rmtree(path)
    refused(home, "metrics.jsonl has rows up to step 4, but there is no checkpoint")
    record = read_sealed(home / "run" / "config.json", "")
    del record["saved"]  # as older versions wrote it
    write_sealed(home / "run" / "config.json", record)
    with pytest.raises(InputError, match="rows up to step 4, but there is no checkpoint"):
        folder.check_may_begin(home / "run", third_save=3)
    folder.check_may_begin(home / "run", third_save=4)  # a kill may come before the first save is done


def test_damaged_checkpoints_alone_are_refused_alike_at_every_start(home):
    for path in (home / "run" / "checkpoints").rglob("manifest.ocdbt"):
        path.write_bytes(b"")
    refused(home, r"every checkpoint is damaged \(4, 2; the newest: ")


def test_a_renamed_checkpoint_is_noticed(home, capsys):
    (home / "run" / "checkpoints" / "2").rename(home / "run" / "checkpoints" / "6")
    assert train(config(home))["step"] == 4
    assert "checkpoints/6 is damaged (it is the checkpoint of step 2 under another name)" in capsys.readouterr().out


def test_a_renamed_checkpoint_without_a_record_is_noticed(home):
    checkpoints = home / "run" / "checkpoints"
    for step in (2, 4):
        shutil.rmtree(checkpoints / str(step) / "record")
    (checkpoints / "4").rename(checkpoints / "5")
    refused(home, "checkpoints/5 holds the state after step 4; give it back that name")


def test_a_changed_row_is_named_left_out_and_kept_aside(home, capsys):
    path = home / "run" / "metrics.jsonl"
    lines = path.read_text().splitlines()
    changed = lines[0].replace('"loss": ', '"loss": 1')
    path.write_text("\n".join([changed, *lines[1:]]) + "\n")
    train(config(home))
    assert "1 rows up to step 4 are lost or changed, the first in line 1" in capsys.readouterr().out
    assert path.read_text().splitlines() == lines[1:]
    assert changed in (home / "run" / "metrics.jsonl.damaged").read_text()


def test_an_altered_or_cut_result_is_one_line_and_can_be_written_anew(home, original):
    whole = (original / "result.json").read_text()
    for damaged in (whole[:40], "", whole.replace('"top1": ', '"top1": 1'), "[]"):
        (home / "run" / "result.json").write_text(damaged)
        refused(home, "result.json is damaged .*; delete it, and the same command writes it anew")
    (home / "run" / "result.json").unlink()
    train(config(home))
    assert (
        read_sealed(home / "run" / "result.json", "")["fingerprint"]
        == read_sealed(original / "result.json", "")["fingerprint"]
    )


def test_a_longer_run_is_refused_with_the_way_to_it(home):
    refused(home, "--steps=9 where the run has 4.*--init_from=.* --init_checkpoint=best --steps=5$", steps=9)
    refused(home, r"--seed=1 where the run has 0, --steps=9.*\); name another folder", steps=9, seed=1)


def test_relative_data_are_kept_absolute_and_compared_alike(home, monkeypatch):
    monkeypatch.chdir(home)
    relative = replace(config(home), data_dir="photographs", workdir="fresh")
    (home / "fresh").mkdir()
    folder.write_config(home / "fresh", relative, {})
    assert folder.read_run_config(home / "fresh")[0].data_dir == str(home / "photographs")
    folder.check_config_matches(home / "fresh", relative)


@pytest.mark.slow
def test_after_divergence_a_lower_rate_may_begin_where_nothing_was_saved(home):
    fresh = replace(config(home), workdir=str(home / "fresh"))
    with pytest.raises(NonFiniteError, match="nothing was saved before, so that other options may begin in the same"):
        train(replace(fresh, learning_rate=1e30))
    assert train(fresh)["step"] == 4
    assert folder.read_run_config(home / "fresh")[0].learning_rate == 0.01
    assert folder.read_run_config(home / "fresh")[1]["saved"]
    with pytest.raises(InputError, match=r"--learning_rate=0\.02 where the run has 0.01"):
        train(replace(fresh, learning_rate=0.02))


def test_a_run_that_failed_before_anything_was_saved_leaves_its_folder_free(home):
    """As after a step that did not fit in memory, whose remedy is a smaller batch."""
    fresh = replace(config(home), workdir=str(home / "fresh"))
    (home / "fresh").mkdir()
    folder.write_config(home / "fresh", fresh, {})
    (home / "fresh" / "metrics.jsonl").write_text('{"step": 1, "split": "train"}\n')
    (home / "fresh" / "wandb_id").write_text("of the first\n")
    smaller = replace(fresh, batch_size=4)
    with pytest.raises(InputError, match="--batch_size=4 where the run has 8"):  # it may be killed, and continue
        folder.check_config_matches(home / "fresh", smaller)
    folder.mark_failed(home / "fresh")
    folder.check_config_matches(home / "fresh", smaller)
    folder.write_config(home / "fresh", smaller, {})
    assert folder.read_run_config(home / "fresh")[0].batch_size == 4
    assert sorted(path.name for path in (home / "fresh").iterdir()) == ["config.json", "metrics.jsonl.failed"]
    with pytest.raises(InputError, match="--batch_size=8 where the run has 4"):
        folder.check_config_matches(home / "fresh", fresh)


def test_a_run_of_an_older_version_keeps_its_folder_unless_it_diverged(home):
    fresh = replace(config(home), workdir=str(home / "fresh"))
    (home / "fresh").mkdir()
    folder.write_config(home / "fresh", fresh, {})
    record = read_sealed(home / "fresh" / "config.json", "")
    del record["saved"]
    write_sealed(home / "fresh" / "config.json", record)
    with pytest.raises(InputError, match="--batch_size=4 where the run has 8"):
        folder.check_config_matches(home / "fresh", replace(fresh, batch_size=4))
    folder.mark_saved(home / "fresh")
    assert read_sealed(home / "fresh" / "config.json", "") == record
    write_sealed(home / "fresh" / "config.json", record | {"diverged": True})
    folder.check_config_matches(home / "fresh", replace(fresh, batch_size=4))


def test_an_error_after_a_save_leaves_the_folder_taken(home):
    folder.mark_failed(home / "run")
    assert "failed_before_saving" not in read_sealed(home / "run" / "config.json", "")
    refused(home, "--batch_size=4 where the run has 8", batch_size=4)


def test_after_divergence_with_checkpoints_another_folder_is_named(home):
    assert after_divergence(home / "run").startswith("other options need another --workdir")


def test_what_was_skipped_before_is_counted_after(home):
    """The run continues after its last step, and so reads no batch: what it skipped stands in the checkpoint."""
    with checkpoint.open_manager(home / "run" / "checkpoints") as manager:
        record = checkpoint.stored_record(manager, 4)
    path = home / "run" / "checkpoints" / "4" / "record" / "metadata"
    path.write_text(json.dumps(seal(record | {"skipped": ["train/dark/3.png: cut off", "train/dark/4.png: empty"]})))
    assert train(config(home))["skipped_images"] == 2


def test_a_checkpoint_that_its_training_deletes_meanwhile_is_not_called_damaged(home, monkeypatch):
    whole = checkpoint.restore_step

    def deleted(manager, step, target):
        shutil.rmtree(home / "run" / "checkpoints" / "4", ignore_errors=True)
        return whole(manager, step, target)

    monkeypatch.setattr(restore.checkpoint, "restore_step", deleted)
    resnet_jax.restore_run(home / "run")  # from the next newest
    with pytest.raises(InputError, match="no checkpoint 4; there are 2"):
        resnet_jax.restore_run(home / "run", 4)


def test_the_best_is_not_chosen_by_a_changed_log(home):
    resnet_jax.restore_run(home / "run", "best")
    path = home / "run" / "metrics.jsonl"
    path.write_text(path.read_text().replace('"loss": ', '"loss": 1', 1))
    with pytest.raises(InputError, match=r"metrics\.jsonl: 1 rows are lost or changed"):
        resnet_jax.restore_run(home / "run", "best")
