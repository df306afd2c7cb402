"""Whole runs with --fsdp: interrupted, continued, and continued otherwise."""

import shutil
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

import resnet_jax
from resnet_jax.errors import InterruptedRunError
from resnet_jax.run import build as build_module
from resnet_jax.run.train import train
from tests.faults.processes import metrics
from tests.run.test_train import TOY

run_module = import_module("resnet_jax.run.train")  # `resnet_jax.run` hands on the function of that name

# Loops of blocks are stacked in training and stored block by block: the state changes its form and its place.
DIVIDED = replace(TOY, width=16, bn_group_size=8, ema=0.9, scan=True, model="resnet20_cifar", fsdp=True)
DIVIDED = replace(DIVIDED, steps=6, log_every=1, eval_every=6, checkpoint_every=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of an unbroken run, and what it reached."""
    workdir = tmp_path_factory.mktemp("unbroken")
    return workdir, train(replace(DIVIDED, workdir=str(workdir)))


@contextmanager
def after_four_steps():
    """In place of the signal."""
    yield lambda step: step == 4


def stop(workdir, **options):
    """Train four steps of the run in `workdir`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "stop_signal", after_four_steps)
        with pytest.raises(InterruptedRunError, match="after step 4"):
            train(replace(DIVIDED, workdir=str(workdir), **options))
    return workdir


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The folder of a run that was stopped after four steps."""
    return stop(tmp_path_factory.mktemp("stopped"))


def continued(stopped, workdir, **options):
    """What the stopped run reaches when it is continued in a copy of its folder."""
    shutil.copytree(stopped, workdir)
    return train(replace(DIVIDED, workdir=str(workdir), **options))


@pytest.mark.slow
def test_a_run_that_was_stopped_and_continued_equals_the_unbroken_one(finished, stopped, tmp_path):
    unbroken, reached = finished
    again = continued(stopped, tmp_path / "run")
    assert again["fingerprint"] == reached["fingerprint"]
    assert metrics(tmp_path / "run") == metrics(unbroken)


@pytest.mark.slow
@pytest.mark.parametrize(("fsdp", "devices"), [(False, 8), (True, 2)], ids=["whole", "on two devices"])
def test_it_may_be_continued_otherwise(finished, stopped, tmp_path, monkeypatch, fsdp, devices):
    monkeypatch.setattr(build_module, "data_mesh", lambda: Mesh(np.array(jax.devices()[:devices]), ("data",)))
    continued(stopped, tmp_path / "run", fsdp=fsdp)
    # Both parts of the run, from other devices than those that saved it, to the rounding of another order of sums.
    for ours, unbroken in zip(metrics(tmp_path / "run"), metrics(finished[0]), strict=True):
        assert ours["loss"] == pytest.approx(unbroken["loss"], rel=1e-5)
    _, _, variables = resnet_jax.restore_run(tmp_path / "run")
    _, _, expected = resnet_jax.restore_run(finished[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), variables, expected)


@pytest.mark.slow
def test_what_began_whole_may_be_continued_divided(finished, tmp_path):
    stop(tmp_path, fsdp=False)
    train(replace(DIVIDED, workdir=str(tmp_path)))
    for ours, unbroken in zip(metrics(tmp_path), metrics(finished[0]), strict=True):
        assert ours["loss"] == pytest.approx(unbroken["loss"], rel=1e-5)
