"""Training on one's own pictures as a command: the run, its report, and the folds of a cross-validation."""

import os

import numpy as np
import pytest
from PIL import Image

from experiments import finetune, segment
from resnet_jax.errors import InputError
from resnet_jax.workdir.folder import read_result

SMALL = [
    *("--model=resnet8_cifar", "--width=2", "--image_size=16", "--recipe=scratch", "--batch_size=8", "--steps=3"),
    "--num_workers=0",
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of two classes without splits."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, shade in (("dark", 60), ("light", 180)):
        (root / name).mkdir()
        for number in range(8):
            pixels = shade + rng.integers(-50, 50, (20, 24, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(root / name / f"{number}.png")
    return root


@pytest.mark.slow
def test_a_training_ends_with_its_report(pictures, tmp_path, capsys):
    argv = [f"--data_dir={pictures}", "--val_fraction=0.3", f"--workdir={tmp_path / 'run'}", *SMALL]
    finetune.main(argv)
    out = capsys.readouterr().out
    page = tmp_path / "run" / "report.html"
    assert f"the report is {page}" in out
    assert "experiments.finetune" in page.read_text()  # the command that made it
    before = page.stat().st_mtime_ns
    finetune.main(argv)
    assert "nothing to do" in capsys.readouterr().out
    assert page.stat().st_mtime_ns == before
    page.write_text("of the middle of the training")
    os.utime(page, ns=(0, (tmp_path / "run" / "result.json").stat().st_mtime_ns - 1))
    finetune.main(argv)
    assert "experiments.finetune" in page.read_text()


@pytest.mark.slow
def test_every_fold_is_trained_and_the_page_compares_them(pictures, tmp_path, capsys):
    argv = [f"--data_dir={pictures}", "--folds=2", f"--workdir={tmp_path}", *SMALL]
    finetune.main(argv)
    out = capsys.readouterr().out
    results = [read_result(tmp_path / f"fold{number}") for number in range(2)]
    assert [result["num_examples"] for result in results if result] == [8, 8]
    top1 = [100 * result["top1"] for result in results if result]
    assert f"{np.mean(top1):.2f} ± {np.std(top1, ddof=1):.2f}" in out
    assert f"the report of all folds is {tmp_path / 'folds.html'}" in out
    assert "their images differ" in (tmp_path / "folds.html").read_text()


@pytest.mark.slow
def test_one_fold_alone_is_a_run_of_its_own(pictures, tmp_path):
    finetune.main([f"--data_dir={pictures}", "--folds=2", "--fold=1", f"--workdir={tmp_path / 'one'}", *SMALL])
    assert (tmp_path / "one" / "result.json").exists()


@pytest.mark.slow
def test_a_search_writes_no_report(pictures, tmp_path, capsys):
    argv = [f"--data_dir={pictures}", "--val_fraction=0.3", f"--workdir={tmp_path / 'run'}", *SMALL, "--find_batch"]
    finetune.main(argv)
    assert "--batch_size=" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_a_network_without_weights_of_its_own_is_named():
    with pytest.raises(InputError, match="--model=resnet8_cifar has no default weights; name some: --weights="):
        finetune.main(["--model=resnet8_cifar", "--data_dir=nowhere"])


def test_folds_in_several_processes_are_refused(pictures, tmp_path):
    argv = [f"--data_dir={pictures}", "--folds=2", f"--workdir={tmp_path}", *SMALL, "--num_processes=2"]
    with pytest.raises(InputError, match=r"in turn in one process; in several, run each by itself, --fold=0"):
        finetune.main([*argv, "--process_id=0", "--coordinator_address=localhost:1"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [finetune, segment])
def test_the_recipe_from_nothing_takes_no_weights(command):
    with pytest.raises(InputError, match="--recipe=scratch starts from nothing: leave out --weights"):
        command.main(["--recipe=scratch", "--weights=some.safetensors", "--data_dir=nowhere"])
