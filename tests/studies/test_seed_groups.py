"""Runs beside each other, from hand-written folders."""

import json
from dataclasses import asdict, replace

import pytest

from experiments import compare
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.studies.seed_groups import differing_options, group_by_options, group_lines, seed_table

BASE = Config(model="resnet18", recipe="goyal2017")


@pytest.fixture
def write_run(tmp_path):
    def write(name: str, config: Config, top1: float | None, facts=(), **more: float) -> str:
        folder = tmp_path / name
        folder.mkdir()
        record = {"config": asdict(replace(config, workdir=str(folder))), "image_size": 96, "class_names": ["a", "b"]}
        record |= dict(facts)
        (folder / "config.json").write_text(json.dumps(record))
        if top1 is not None:
            (folder / "result.json").write_text(json.dumps({"top1": top1, "top5": 0.9, "epoch": 15.0, **more}))
        return str(folder)

    return write


def test_seeds_are_one_line_and_options_are_lines_of_their_own(write_run):
    other = replace(BASE, recipe="rsb_a3", loss="binary_cross_entropy")
    folders = [
        write_run("a", BASE, 0.5),
        write_run("b", other, 0.7, ema_top1=0.75),
        write_run("c", replace(BASE, seed=2), 0.54),
        write_run("d", replace(BASE, seed=3), None),
    ]
    groups, unfinished = group_by_options(folders)
    assert unfinished == [folders[3]]
    assert [group.seeds for group in groups] == [(0, 2), (0,)]
    assert groups[0].mean("top1") == pytest.approx(0.52)
    assert groups[0].spread("top1") == pytest.approx(0.02 * 2**0.5)
    assert groups[1].spread("top1") is None
    assert differing_options(groups) == ["recipe", "loss"]
    assert group_lines(groups) == [
        f"{folders[0]}, {folders[2]}: --recipe=goyal2017 --loss=cross_entropy",
        f"{folders[1]}: --recipe=rsb_a3 --loss=binary_cross_entropy",
    ]
    assert seed_table(groups).splitlines()[2:] == [
        "| resnet18 | goyal2017 | 2 | 15 | 52.00 ± 2.83 | - | 90.00 ± 0.00 |",
        "| resnet18 | rsb_a3 | 1 | 15 | 70.00 | 75.00 | 90.00 |",
    ]


def test_the_same_run_twice_is_refused(write_run):
    runs = [write_run("a", BASE, 0.5), write_run("c", replace(BASE, seed=3), 0.5), write_run("b", BASE, 0.5)]
    with pytest.raises(InputError, match=rf"^{runs[0]} and {runs[2]} hold runs of resnet18 with the same .* seed 0;"):
        group_by_options(runs)


def test_folders_without_runs_are_refused(tmp_path, write_run, capsys):
    with pytest.raises(InputError, match="there is no run in it"):
        compare.main([str(tmp_path)])
    with pytest.raises(InputError, match="none of these"):
        compare.main([write_run("a", BASE, None)])
    assert "not finished" in capsys.readouterr().out


def test_a_page_that_cannot_be_written_is_refused_before_any_run_is_read(tmp_path):
    for page, message in (
        ("no/x.html", "there is no folder .*no; make it"),
        ("", "is not a page; name a file, --report="),
    ):
        with pytest.raises(InputError, match=rf"^--report={tmp_path / page}.*{message}"):
            compare.main([str(tmp_path / "no run"), f"--report={tmp_path / page}"])


def test_runs_on_other_images_are_lines_of_their_own(write_run, capsys):
    runs = [write_run(name, BASE, 0.5, {"train_examples": name, "test_examples": "same"}) for name in "ab"]
    groups, _ = group_by_options(runs)
    assert [group.workdirs for group in groups] == [(runs[0],), (runs[1],)]
    assert group_lines(groups) == runs
    compare.main(runs)
    assert f"The lines differ in their images:\n{runs[0]}\n{runs[1]}\n" in capsys.readouterr().out


def test_runs_before_and_after_their_masks_were_corrected_are_lines_of_their_own(write_run):
    names = {"train_examples": "t", "test_examples": "v"}
    runs = [
        write_run("a", BASE, 0.5, names | {"mask_content": "old"}),
        write_run("b", replace(BASE, seed=1), 0.5, names | {"mask_content": "corrected"}),
        write_run("c", replace(BASE, seed=2), 0.5, names | {"mask_content": "corrected"}),
    ]
    groups, _ = group_by_options(runs)
    assert [group.workdirs for group in groups] == [(runs[0],), (runs[1], runs[2])]


def test_folds_of_one_set_are_one_line(write_run):
    def fold(number: int) -> str:
        counts = {"train_examples": str(number), "num_train": 10 + number, "num_test": 5 - number}
        return write_run(f"fold{number}", replace(BASE, folds=2, fold=number), 0.5, counts)

    groups, _ = group_by_options([fold(0), fold(1)])
    assert [len(group.seeds) for group in groups] == [2]
