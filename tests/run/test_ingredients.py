"""Runs with the ingredients of modern recipes: averages, mixing, repeats, growing images, micro-batches, a teacher."""

import json
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import jax
import numpy as np
import pytest

import resnet_jax
from resnet_jax.errors import InputError, InterruptedRunError
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.inference.trained import trained_from_run
from resnet_jax.run import step as step_module
from resnet_jax.run.train import train
from tests.faults.processes import metrics
from tests.run import test_train as test_run

run_module = import_module("resnet_jax.run.train")  # `resnet_jax.run` hands on the function of that name

TOY = replace(test_run.TOY, batch_size=32, steps=6, schedule="cosine", log_every=2, eval_every=6, checkpoint_every=3)
# What draws at random or carries a state from step to step. There are three steps an epoch, and the images grow after
# the second, which is later than where it is interrupted.
RICH = replace(
    TOY,
    batch_size=480,
    steps=9,
    eval_every=9,
    flip="alternating",
    auto_augment="rand-m6-mstd0.5-inc1",
    erase=0.5,
    mixup=0.2,
    cutmix=1.0,
    repeats=3,
    progressive="8:12",
    progressive_ramp=(0.5, 0.5),
    eval_image_size=12,
    optimizer="lamb",
    learning_rate=0.01,
    decay_norm_and_bias=False,
    clip_norm=1.0,
    loss="binary_cross_entropy",
    ema=0.9,
    accumulate=2,
    bn_group_size=2,
    stochastic_depth=0.2,
    eval_views="flip",
)


def arrays(workdir: Path, *, ema: bool = False) -> list[np.ndarray]:
    _, _, variables = resnet_jax.restore_run(workdir, ema=ema)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(variables)]


def interrupt_at(monkeypatch, at: int) -> None:
    @contextmanager
    def signal():
        yield lambda step: step >= at

    monkeypatch.setattr(run_module, "stop_signal", signal)


@pytest.fixture(scope="module")
def rich(tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("rich")
    train(replace(RICH, workdir=str(workdir)))
    return workdir


@pytest.mark.slow
def test_an_interrupted_run_with_every_ingredient_ends_bit_for_bit_the_same(rich, tmp_path, monkeypatch):
    config = replace(RICH, workdir=str(tmp_path))
    with monkeypatch.context() as patched:
        interrupt_at(patched, 3)
        with pytest.raises(InterruptedRunError, match="after step 3"):
            train(config)
    train(config)
    assert metrics(tmp_path) == metrics(rich)
    for ema in (False, True):
        for got, want in zip(arrays(tmp_path, ema=ema), arrays(rich, ema=ema), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.slow
def test_the_average_is_evaluated_beside_the_weights_and_can_be_restored(rich):
    last = json.loads((rich / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"top1", "ema_top1", "ema_top5", "ema_loss"} <= last.keys()
    assert any(not np.array_equal(a, b) for a, b in zip(arrays(rich), arrays(rich, ema=True), strict=True))
    for ema, prefix in ((False, ""), (True, "ema_")):
        again = evaluate(trained_from_run(rich, ema=ema), num_workers=0)
        assert again["loss"] == pytest.approx(last[f"{prefix}loss"], rel=1e-5)
        assert again["top1"] == last[f"{prefix}top1"]


@pytest.mark.slow
def test_a_run_without_an_average_has_none_to_restore(tmp_path):
    train(replace(TOY, workdir=str(tmp_path), steps=1))
    with pytest.raises(InputError, match="kept no average"):
        resnet_jax.restore_run(tmp_path, ema=True)


@pytest.mark.slow
def test_lookahead_ends_as_its_average(tmp_path):
    train(replace(TOY, workdir=str(tmp_path), ema=0.5, ema_every=4, ema_rise="none", lookahead=True))
    for weights, average in zip(arrays(tmp_path), arrays(tmp_path, ema=True), strict=True):
        np.testing.assert_array_equal(weights, average)


@pytest.mark.slow
def test_a_run_learns_from_the_run_that_is_its_teacher(rich, tmp_path):
    config = replace(TOY, teacher=str(rich), distill_weight=1.0, temperature=2.0)
    train(replace(config, workdir=str(tmp_path / "taught")))
    train(replace(config, workdir=str(tmp_path / "other"), distill_weight=0.0))
    train(replace(TOY, workdir=str(tmp_path / "alone")))
    taught, other, alone = (arrays(tmp_path / name) for name in ("taught", "other", "alone"))
    assert any(not np.allclose(a, b, rtol=1e-3) for a, b in zip(taught, alone, strict=True))
    # A teacher that has no share of the loss changes nothing but the rounding of another program.
    for got, want in zip(other, alone, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_teacher_of_other_classes_is_refused(rich, tmp_path):
    with pytest.raises(InputError, match=r"--teacher=.*: --dataset=fake has 1000 classes, the network 10"):
        train(replace(TOY, workdir=str(tmp_path), dataset="fake", image_size=32, teacher=str(rich)))
    assert not (tmp_path / "config.json").exists()


@pytest.mark.slow
def test_growing_images_compile_once_a_size(tmp_path, monkeypatch):
    steps = []
    build_train_step = step_module.build_train_step
    monkeypatch.setattr(step_module, "build_train_step", lambda run: steps.append(build_train_step(run)) or steps[-1])
    config = replace(TOY, batch_size=480, steps=9, progressive="8:12", progressive_ramp=(0.5, 0.5), image_size=12)
    train(replace(config, workdir=str(tmp_path)))
    assert steps[0]._cache_size() == 2


@pytest.mark.slow
def test_the_stem_stays_once_its_part_of_the_training_is_over(tmp_path):
    train(replace(TOY, workdir=str(tmp_path / "short"), steps=3, schedule="constant", weight_decay=0.1))
    frozen = replace(TOY, schedule="constant", weight_decay=0.1, stem_fraction=0.5)
    train(replace(frozen, workdir=str(tmp_path / "frozen")))
    stems = [
        resnet_jax.restore_run(tmp_path / name)[2]["params"]["stem_conv"]["kernel"] for name in ("short", "frozen")
    ]
    np.testing.assert_array_equal(*stems)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"accumulate": 3}, "cannot be divided into 3 micro-batches"),
        (
            {"accumulate": 4, "bn_group_size": 16},
            "4 micro-batches of groups of --bn_group_size=16; take a multiple of 64",
        ),
        ({"bn_group_size": 5}, "cannot be divided into groups of 5"),
        ({"progressive": "160"}, "--progressive=160 is not LOW:HIGH"),
        ({"progressive": "192:160"}, "--progressive=192:160 is not LOW:HIGH"),
        ({"lookahead": True}, "--lookahead=True does nothing here: it needs --ema"),
        ({"target_threshold": 0.2}, "needs --loss=binary_cross_entropy"),
        ({"crop_scale": (1.0, 0.08)}, "--crop_scale 1.0 0.08: the smaller one comes first"),
        ({"cutout": 8}, "--cutout=8 leaves nothing of images of 8 pixels"),
        ({"mix_probability": 0.5}, "--mix_probability=0.5 does nothing here: it needs --mixup or --cutmix"),
        ({"optimizer": "lamb", "nesterov": True}, "--nesterov=True does nothing here"),
        ({"mean": (0.5, 0.5)}, "--mean 0.5 0.5: give three numbers"),
        ({"std": (0.0, 1.0, 1.0)}, "--std 0.0 1.0 1.0: give three numbers above 0"),
        ({"mixup": -1.0}, "--mixup=-1.0 must be at least 0"),
        ({"auto_augment": "rand-m7-q3"}, "--auto_augment"),
        ({"optimizer": "lars", "decay": "decoupled"}, "--optimizer=lars --decay=decoupled"),
        ({"teacher": "no/such/run"}, "--teacher=no/such/run: .*there is no run in it"),
    ],
)
def test_what_cannot_be_is_refused_before_the_folder_is_taken(wrong, message, tmp_path):
    with pytest.raises(InputError, match=message):
        train(replace(TOY, workdir=str(tmp_path), **wrong))
    assert not (tmp_path / "config.json").exists()
