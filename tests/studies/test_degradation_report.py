"""Table and figure of a study from run folders written by hand."""

import numpy as np
import pytest
from PIL import Image

from resnet_jax.studies.degradation import run_config
from resnet_jax.studies.degradation_report import summarize
from tests.studies.rows import eval_row, train_row, write_run


@pytest.fixture
def study(tmp_path):
    """Plain networks of 20 and 56 layers, two seeds and one; a residual one at step 100 of 400."""
    for name, seed, train_error, test_error in (
        ("plain20_cifar", 0, 10, 12),
        ("plain20_cifar", 1, 12, 13),
        ("plain56_cifar", 0, 31, 33),
    ):
        rows = [train_row(200, 60), eval_row(200, 55), train_row(400, train_error), eval_row(400, test_error)]
        config = run_config(name, seed, tmp_path, "paper", steps=400)
        write_run(config, rows, error=test_error, training_error=train_error - 5)
    write_run(run_config("resnet56_cifar", 0, tmp_path, "paper"), [train_row(100, 50), eval_row(100, 45)])
    (tmp_path / "something else").mkdir()
    return tmp_path


def lines_of(text):
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in table}


def test_the_table_has_means_deviations_and_the_papers_values(study):
    text = summarize(study, ["plain20_cifar", "resnet20_cifar"])
    lines = lines_of(text)
    assert list(lines) == ["network", "---", "plain20_cifar", "plain56_cifar", "resnet20_cifar", "resnet56_cifar"]
    trained = "cifar10, 400 steps of 128, schedule step"
    assert lines["plain20_cifar"] == [
        "2",
        "6.00 ± 1.41",
        "11.00 ± 1.41",
        "12.50 ± 0.71",
        "about 9 (figure)",
        trained,
        "-",
    ]
    assert lines["plain56_cifar"][:5] == ["1", "26.00", "31.00", "33.00", "about 13 to 14 (figure)"]
    assert lines["resnet20_cifar"] == ["0", "-", "-", "-", "8.75", "-", "not run"]
    # 163.84 epochs, by rows that count 100 steps an epoch.
    unfinished = "cifar10, 16,384 steps of 128, schedule step"
    assert lines["resnet56_cifar"] == ["0", "-", "-", "-", "6.97", unfinished, "seed 0 at 100"]
    assert "plain: with 56 layers the training error is 20.00 points higher than with 20." in text
    assert "resnet: with" not in text
    assert (study / "table.md").read_text() == text


def test_the_figure_is_drawn_from_the_runs_that_are_there(study):
    summarize(study, [])
    with Image.open(study / "degradation.png") as figure:
        before = np.asarray(figure.convert("L"), np.int32)
    write_run(
        run_config("resnet20_cifar", 0, study, "paper", steps=400), [train_row(200, 30), eval_row(400, 20)], error=20
    )
    summarize(study, [])
    with Image.open(study / "degradation.png") as figure:
        after = np.asarray(figure.convert("L"), np.int32)
    assert before.shape == after.shape
    middle = before.shape[1] // 2
    assert (before != after)[:, middle:].sum() > 500  # the residual panel


def test_a_study_of_nothing_says_so(tmp_path):
    text = summarize(tmp_path / "new", ["plain20_cifar"])
    assert "not run" in text
    assert (tmp_path / "new" / "degradation.png").is_file()
