"""Searches before a training: the learning rate and the batch size."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.run import find_rate as rates
from resnet_jax.run.build import build_run
from resnet_jax.run.find_batch import at_size, first_arguments, largest_step, largest_that_fits
from resnet_jax.run.find_rate import SAFETY, find_rate, suggested_rate
from resnet_jax.run.memory import abstract, step_memory
from resnet_jax.run.step import build_train_step
from resnet_jax.run.train import train
from tests.data.images import encoded, smooth
from tests.run.test_train import TOY


@pytest.mark.slow
def test_a_rate_is_suggested_and_drawn_and_the_folder_is_not_taken(tmp_path, capsys):
    config = replace(TOY, find_rate=True, workdir=str(tmp_path))
    assert train(config) == {}
    assert {path.name for path in tmp_path.iterdir()} == {"find_rate.png"}
    out = capsys.readouterr().out
    assert "suggestion, a tenth of it: --learning_rate=" in out
    train(replace(TOY, steps=1, workdir=str(tmp_path)))  # the same folder may be trained in


@pytest.mark.slow
def test_the_losses_fall_and_then_explode(tmp_path):
    test = find_rate(replace(TOY, workdir=str(tmp_path), reference_batch_size=32))
    best = test.means.argmin()
    assert 0 < best < len(test.means) - 1
    assert test.means[-1] > test.means[best]
    assert test.suggestion == pytest.approx(test.rates[best] / SAFETY)
    assert 1e-4 < test.rates[best] < 10


def test_the_suggestion_is_a_tenth_of_the_best_rate():
    rates = np.array([1e-4, 1e-3, 1e-2, 1e-1])
    assert suggested_rate(rates, np.array([3.0, 2.0, 1.0, 2.0])) == pytest.approx(1e-3)
    assert suggested_rate(rates, np.array([1.0, 2.0, 3.0, 4.0])) is None
    assert suggested_rate(np.array([]), np.array([])) is None


def needed(run, size: int) -> int:
    shapes = at_size(jax.tree.map(abstract, first_arguments(run)), run.config.batch_size, size)
    return step_memory(build_train_step(run), *shapes).total


@pytest.mark.slow
def test_the_largest_batch_fits_and_the_next_one_does_not():
    run = build_run(TOY)
    limit = needed(run, 200) + 1
    size = largest_that_fits(run, limit)
    assert size >= 192  # eight devices share it
    assert needed(run, size) <= limit < needed(run, size + 16)


@pytest.mark.slow
def test_a_model_that_does_not_fit_at_all_is_named():
    with pytest.raises(InputError, match="not even the smallest batch of resnet8_cifar at 8 px fits"):
        largest_that_fits(build_run(TOY), 1000)


@pytest.fixture
def with_a_broken_picture(tmp_path):
    """The config of a run on four photographs, one of them no JPEG but by its name."""
    for k, name in enumerate(["train/a", "train/b", "val/a", "val/b"]):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "0.jpg").write_bytes(encoded(smooth(seed=k), "JPEG"))
    for name in "ab":
        (tmp_path / "train" / name / "1.jpg").write_bytes(encoded(smooth(), "JPEG"))
    (tmp_path / "train/a/0.jpg").write_bytes(b"broken")
    photographs = {"dataset": "folder", "data_dir": str(tmp_path), "image_size": 8, "batch_size": 8}
    return replace(TOY, **photographs, crop="random_resized", workdir=str(tmp_path / "run"))


@pytest.mark.slow
def test_a_picture_that_cannot_be_read_is_skipped_in_a_rate_test(with_a_broken_picture, capsys, monkeypatch):
    monkeypatch.setattr(rates, "STEPS", 2)
    assert len(rates.rate_test(build_run(replace(with_a_broken_picture, steps=2))).losses) == 2
    assert "skipped an image that cannot be read, 1 so far: " in capsys.readouterr().out


def test_a_picture_that_cannot_be_read_is_no_part_of_the_batch_that_is_measured(with_a_broken_picture):
    _, _, batch = first_arguments(build_run(with_a_broken_picture))
    assert {"image", "label"} <= set(batch)
    assert "skipped" not in batch


def test_the_step_that_is_measured_is_the_one_that_needs_the_most_memory():
    gradual = replace(TOY, freeze="stem..stage2", unfreeze_at=1.0, progressive="8:16")
    largest = largest_step(gradual)
    assert (largest.freeze, largest.unfreeze_at, largest.progressive, largest.image_size) == ("", 0.0, "", 16)
    assert largest_step(TOY) == TOY
