"""A run trains on from a checkpoint of another, from its weights or their average, and the refusal says how."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.config.checks import check_config
from resnet_jax.errors import InputError
from resnet_jax.inference.convert import convert
from resnet_jax.inference.restore import restore_run
from resnet_jax.inference.trained import load_trained
from resnet_jax.models.registry import create_model
from resnet_jax.run.build import build_run
from resnet_jax.run.distill import add_teacher
from resnet_jax.run.initial import read_initial
from resnet_jax.run.train import train
from resnet_jax.weights.checksum import checksum
from resnet_jax.weights.layout import OURS, to_tensors
from resnet_jax.workdir.folder import check_config_matches, read_run_config
from tests.faults.toy import config, photographs
from tests.weights.torch_writer import save

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The home of a run of four steps that keeps an average, with checkpoints 2 and 4."""
    home = tmp_path_factory.mktemp("home")
    photographs(home)
    train(config(home, ema=0.5))
    return home


def assert_equal(found, wanted):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(found), jax.device_get(wanted))


@pytest.mark.parametrize(("which", "key"), [("newest", ""), ("2", ""), ("2", "ema"), ("newest", "ema")])
def test_any_checkpoint_and_its_average_are_taken(home, which, key):
    run = str(home / "run")
    initial: Any = read_initial(config(home, init_from=run, init_checkpoint=which, weights_key=key))
    assert_equal(initial.variables, restore_run(run, which, ema=bool(key))[2])
    others = {(w, e) for w in ("2", "4") for e in (False, True)} - {(which.replace("newest", "4"), bool(key))}
    for other, ema in others:
        assert checksum(to_tensors(initial.variables, OURS), {}) != digest(run, other, ema)


def digest(run, which, ema):
    return checksum(to_tensors(jax.device_get(restore_run(run, which, ema=ema)[2]), OURS), {})


def test_a_longer_run_follows_the_advice_of_the_refusal(home):
    run = home / "run"
    advice = (
        f"the same command with --workdir=NEW --init_from={run} --init_checkpoint=best --weights_key=ema --steps=5$"
    )
    ways: Any = ({}, {"schedule": "cosine", "learning_rate": 0.001})
    for options in ways:
        with pytest.raises(InputError, match=f"--steps=9 where the run has 4.*{advice}"):
            check_config_matches(run, replace(config(home, ema=0.5, **options), steps=9))
    followed = config(home, ema=0.5, init_from=str(run), init_checkpoint="best", weights_key="ema")
    train(replace(followed, steps=1, eval_every=1, workdir=str(home / "new")))
    assert read_run_config(home / "new")[1]["init"]["sha256"] == digest(str(run), "best", True)


def test_what_is_no_extension_is_refused_without_that_advice(home):
    others: Any = ({"steps": 2}, {"steps": 9, "seed": 1}, {"batch_size": 16})
    for options in others:
        with pytest.raises(InputError, match=r"\); name another folder for this one$"):
            check_config_matches(home / "run", replace(config(home, ema=0.5), **options))


def test_what_a_run_lacks_is_refused(home, tmp_path):
    run = str(home / "run")
    with pytest.raises(InputError, match=r"--init_from=.*: no checkpoint '3'; there are 2, 4"):
        read_initial(config(home, init_from=run, init_checkpoint="3"))
    with pytest.raises(InputError, match="--weights_key=swa: of a run there is ema"):
        read_initial(config(home, init_from=run, weights_key="swa"))
    says = r"--init_checkpoint=best is of a run, and --init_from=x\.pth is not the folder of one"
    with pytest.raises(InputError, match=says):
        read_initial(config(home, init_from="x.pth", init_checkpoint="best"))
    with pytest.raises(InputError, match="--init_checkpoint=best does nothing here: it needs --init_from=RUN"):
        check_config(config(home, init_checkpoint="best"))
    with pytest.raises(InputError, match="--weights_key=ema is of --init_from or of the teacher, and both are given"):
        check_config(config(home, init_from=run, teacher=run, weights_key="ema"))
    with pytest.raises(InputError, match="--weights_key=ema is of a file of weights; the average of a run is --ema"):
        load_trained(run, weights_key="ema")


def test_the_average_is_converted_and_teaches(home, tmp_path):
    run, file = str(home / "run"), tmp_path / "average.npz"
    wanted = restore_run(run, 2, ema=True)[2]
    convert(run, file, checkpoint="2", ema=True)
    assert_equal(load_trained(model="resnet8_cifar", weights=file).variables, wanted)
    with pytest.raises(InputError, match="--ema is of a run"):
        convert(str(file), tmp_path / "x.npz", model="resnet8_cifar", ema=True)
    taught = add_teacher(build_run(config(home, teacher=run, weights_key="ema")))
    assert_equal(taught.data.train.held["teacher"], restore_run(run, ema=True)[2])


def test_a_set_of_several_is_taken_by_its_key(home, tmp_path):
    variables: Any = create_model("resnet8_cifar", num_classes=2).init(jax.random.key(0), np.zeros((1, 8, 8, 3)))
    tensors = to_tensors(jax.device_get(variables), OURS)
    average = {name: np.asarray(tensor) + 1 for name, tensor in tensors.items()}
    path = save(tmp_path / "both.pth", {"state_dict": tensors, "state_dict_ema": average})
    wanted = jax.tree.map(lambda leaf: leaf + 1, variables)
    convert(str(path), tmp_path / "x.npz", model="resnet8_cifar", num_classes=2, weights_key="state_dict_ema")
    assert_equal(load_trained(model="resnet8_cifar", weights=tmp_path / "x.npz", num_classes=2).variables, wanted)
    options: Any = {"width": 0, "weights_key": "state_dict_ema"}
    initial: Any = read_initial(replace(config(home, init_from=str(path)), **options))
    kernels = [v["params"]["stem_conv"]["kernel"] for v in (initial.variables, wanted)]
    np.testing.assert_array_equal(*kernels)
    taught = add_teacher(
        build_run(replace(config(home, teacher="resnet8_cifar", teacher_weights=str(path)), **options))
    )
    assert_equal(taught.data.train.held["teacher"], wanted)
