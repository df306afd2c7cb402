"""Runs that start from weights: what is taken over, what stays frozen, and that they continue as any other."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from resnet_jax.config.options import Config, differences
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError, InterruptedRunError
from resnet_jax.inference.convert import convert
from resnet_jax.inference.restore import restore_run
from resnet_jax.inference.trained import Trained
from resnet_jax.layers.frozen_statistics import WithFrozenStatistics
from resnet_jax.models.counts import abstract_variables, count_multiply_adds
from resnet_jax.models.registry import create_model
from resnet_jax.optim.freeze import frozen_by
from resnet_jax.run.cached_features import next_readable
from resnet_jax.run.initial import (
    Initial,
    check_options,
    check_same_start,
    check_scan,
    read_initial,
    with_preprocessing_of,
)
from resnet_jax.run.new_parts import with_head
from resnet_jax.run.train import train
from resnet_jax.training.state import TrainState
from resnet_jax.training.step import train_step
from resnet_jax.weights.pretrained import write_weights
from resnet_jax.workdir.folder import read_run_config
from tests.random_variables import random_variables
from tests.run.test_ingredients import interrupt_at
from tests.run.test_train import TOY

FROZEN = replace(TOY, freeze="stem..stage2", head_rate=3.0, steps=6, eval_every=3)


@pytest.fixture(scope="module")
def frozen(weights, tmp_path_factory) -> Any:
    """(The result of a run that starts from them, its folder)."""
    workdir = tmp_path_factory.mktemp("frozen")
    return train(replace(FROZEN, init_from=weights, workdir=str(workdir))), workdir


def leaves(workdir) -> dict[str, Any]:
    return {"/".join(path): leaf for path, leaf in flatten_dict(jax.device_get(restore_run(workdir)[2])).items()}


def moved(before, after) -> set[str]:
    return {path for path in before if not np.array_equal(before[path], after[path])}


@pytest.mark.slow
def test_what_is_frozen_keeps_its_bits_statistics_included(weights, frozen):
    before, after = leaves(weights), leaves(frozen[1])
    learns = {path for path in before if "stage3" in path or "head" in path}
    assert moved(before, after) == learns


@pytest.mark.slow
def test_config_json_says_which_bits_it_started_from(weights, frozen):
    _, facts = read_run_config(frozen[1])
    assert facts["init"]["source"] == weights
    assert facts["init"]["classes_kept"] == 10
    assert len(facts["init"]["sha256"]) == 64


@pytest.mark.slow
def test_a_run_that_is_interrupted_ends_as_the_unbroken_one(weights, frozen, tmp_path, monkeypatch):
    halves = replace(FROZEN, init_from=weights, workdir=str(tmp_path))
    with monkeypatch.context() as patched:
        interrupt_at(patched, 4)
        with pytest.raises(InterruptedRunError):
            train(halves)
    assert train(halves)["fingerprint"] == frozen[0]["fingerprint"]


@pytest.mark.slow
def test_scanned_blocks_start_from_the_same_weights(tmp_path):
    deep = replace(FROZEN, model="resnet20_cifar", freeze="", steps=2, eval_every=2)  # three blocks a stage
    train(replace(deep, workdir=str(tmp_path / "weights"), steps=1))
    found = {}
    for scan in (False, True):
        options = {"freeze": "stem..stage2", "init_from": str(tmp_path / "weights"), "scan": scan}
        train(replace(deep, **options, workdir=str(tmp_path / str(scan))))
        found[scan] = leaves(tmp_path / str(scan))
    assert {path.split("/")[1][:6] for path in moved(leaves(tmp_path / "weights"), found[True])} == {"stage3", "head"}
    for path, leaf in found[True].items():
        np.testing.assert_allclose(leaf, found[False][path], rtol=1e-3, atol=1e-5, err_msg=path)


@pytest.mark.slow
def test_a_run_killed_in_its_first_save_starts_from_the_weights_again(weights, frozen, tmp_path):
    config = replace(FROZEN, init_from=weights, workdir=str(tmp_path))
    (tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)
    assert train(config)["fingerprint"] == frozen[0]["fingerprint"]


def test_other_bits_to_start_from_are_refused():
    initial = Initial({}, "", {"init": {"source": "w.pth", "sha256": "b" * 64}})
    check_same_start(initial, {})
    check_same_start(initial, {"init": {"sha256": "b" * 64}})
    with pytest.raises(InputError, match=r"the weights of w\.pth are not those that this run began with"):
        check_same_start(initial, {"init": {"sha256": "a" * 64}})


def test_a_part_of_blocks_that_are_compiled_as_one_cannot_be_frozen():
    config = replace(TOY, model="resnet20_cifar", scan=True, freeze="stem..stage1_block02")
    model: Any = create_model("resnet20_cifar", num_classes=10, width=2, scan=True)
    params = abstract_variables(model, 8)["params"]
    with pytest.raises(InputError, match=r"--freeze=.* ends among stage1_block02 to stage1_block03, which --scan"):
        check_scan(config, model, params)
    for one_by_one in ("stage1_block01,stage1_block02,stage1_block03", "stage1_block??"):
        with pytest.raises(InputError, match=r"names one by one stage1_block02 to stage1_block03, which --scan"):
            check_scan(replace(config, freeze=one_by_one), model, params)
    check_scan(replace(config, freeze="stem..stage1"), model, params)
    check_scan(replace(config, freeze="stage1_*"), model, params)
    dense: Any = create_model("unet_resnet20_cifar", num_classes=3, scan=True)
    with pytest.raises(InputError, match=r"ends among stage1_block02 to stage1_block03, which --scan"):
        check_scan(config, dense, abstract_variables(dense, 16)["params"])
    check_scan(replace(config, scan=False), model, params)


def test_an_unreadable_image_is_replaced_by_the_next_one():
    readable = np.array([False, True, False, False, True, False])
    np.testing.assert_array_equal(next_readable(readable), [1, 1, 4, 4, 4, 1])


@pytest.mark.slow
def test_frozen_statistics_stay_while_scales_learn(weights, tmp_path):
    train(replace(TOY, init_from=weights, freeze_statistics=True, steps=3, workdir=str(tmp_path)))
    before = leaves(weights)
    assert moved(before, leaves(tmp_path)) == {path for path in before if path.startswith("params")}


HEAD_ALONE = replace(TOY, freeze="stem..stage3", crop_padding=1, steps=30, eval_every=30, log_every=10)


@pytest.mark.slow
def test_cached_features_train_the_head_as_the_images_do(weights, tmp_path):
    epochs = 30 * TOY.batch_size // 1437 + 1
    found = {}
    for views in (0, epochs):
        workdir = tmp_path / str(views)
        train(replace(HEAD_ALONE, init_from=weights, cache_features=views, workdir=str(workdir)))
        found[views] = leaves(workdir)
    assert moved(leaves(weights), found[epochs]) == {"params/head/kernel", "params/head/bias"}
    for path in ("params/head/kernel", "params/head/bias"):
        np.testing.assert_allclose(found[epochs][path], found[0][path], rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_cached_run_continues_with_the_same_bits(weights, tmp_path, monkeypatch):
    config = replace(HEAD_ALONE, init_from=weights, cache_features=1, steps=12, eval_every=4)
    whole = train(replace(config, workdir=str(tmp_path / "whole")))
    halves = replace(config, workdir=str(tmp_path / "halves"))
    with monkeypatch.context() as patched:
        interrupt_at(patched, 7)
        with pytest.raises(InterruptedRunError):
            train(halves)
    assert train(halves)["fingerprint"] == whole["fingerprint"]


@pytest.mark.slow
def test_the_preprocessing_is_the_weights(weights, tmp_path):
    config, _, variables = restore_run(weights)
    file = tmp_path / "weights.safetensors"
    own = Preprocessing(image_size=8, resize=10, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bicubic")
    write_weights(file, config.model, variables, preprocessing=own, options={"width": 2}, class_names=["0", "7"] * 5)
    run = tmp_path / "run"
    train(replace(TOY, init_from=str(file), steps=1, workdir=str(run)))
    taken, facts = read_run_config(run)
    assert (taken.mean, taken.std, taken.interpolation, taken.eval_crop) == (own.mean, own.std, "bicubic", 0.8)
    assert facts["init"]["classes_kept"] == 2
    given = replace(TOY, init_from=str(file), steps=1, workdir=str(tmp_path / "given"), mean=(0.5,) * 3, std=(0.5,) * 3)
    train(given)
    taken, _ = read_run_config(tmp_path / "given")
    assert (taken.mean, taken.interpolation) == ((0.5, 0.5, 0.5), "bicubic")
    with pytest.raises(InputError, match=r"--eval_crop=0\.5 where the run has 0\.8"):
        train(replace(given, eval_crop=0.5))


def test_what_is_named_counts_more_than_the_preprocessing_of_the_weights():
    own = Preprocessing(image_size=8, resize=10, mean=(0.1,) * 3, std=(0.4,) * 3, interpolation="bicubic")
    trained = Trained("resnet8_cifar", create_model("resnet8_cifar"), {}, own, None, "weights.safetensors", "")
    # What stands without weights, too.
    named = replace(TOY, init_from="weights.safetensors", eval_crop=0.875, interpolation="bilinear")
    taken = with_preprocessing_of(trained, named)
    assert (taken.eval_crop, taken.interpolation, taken.mean) == (0.875, "bilinear", own.mean)


def test_a_run_in_the_folder_answers_what_the_options_leave_open():
    begun = replace(TOY, init_from="weights.safetensors", eval_crop=0.95, interpolation="bicubic")
    again = replace(TOY, init_from="weights.safetensors")
    assert with_preprocessing_of(None, again, begun) == begun
    # Without weights nothing is taken from the folder, and other options are another run.
    assert with_preprocessing_of(None, TOY, replace(begun, init_from="")) == TOY


def test_a_usual_value_by_name_is_the_one_that_is_left_open():
    assert not differences(replace(TOY, eval_crop=0.875, interpolation="bilinear"), TOY)
    assert differences(replace(TOY, eval_crop=0.5), TOY) == ["--eval_crop=0.875 where the run has 0.5"]


def test_a_class_keeps_its_part_of_the_head_by_its_name():
    old = {"params": {"head": {"kernel": np.arange(32.0).reshape(8, 4), "bias": np.arange(4.0)}}}
    config = replace(TOY, model="resnet8_cifar")
    variables, kept = with_head(config, {"width": 2}, old, ["ant", "bee", "cat", "dog"], ["dog", "emu", "ant"])
    assert kept == 2
    head = variables["params"]["head"]
    np.testing.assert_array_equal(head["bias"][[0, 2]], [3, 0])
    np.testing.assert_array_equal(head["kernel"][:, [0, 2]], old["params"]["head"]["kernel"][:, [3, 0]])
    assert head["kernel"].shape == (8, 3)
    assert head["kernel"][:, 1].std() > 0


def test_auxiliary_heads_that_weights_do_not_have_are_drawn():
    name, names = "fcn_resnet18", ["ant", "bee"]
    whole: Any = random_variables(create_model(name, num_classes=2), 32)
    old = {kind: {top: tree for top, tree in leaves.items() if top != "aux1"} for kind, leaves in whole.items()}
    variables, kept = with_head(replace(TOY, model=name), {}, old, names, names)
    assert kept == 2
    assert jax.tree.map(np.shape, variables) == jax.tree.map(np.shape, whole)
    np.testing.assert_array_equal(
        variables["params"]["head"]["conv2"]["bias"], whole["params"]["head"]["conv2"]["bias"]
    )
    assert variables["params"]["aux1"]["conv1"]["kernel"].std() > 0
    with_heads, without = (create_model(name, aux_head=aux) for aux in (True, False))
    check_options(replace(TOY, init_from="fcn.pth"), name, without, with_heads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"init_from": "", "freeze": "stem..stage1"},
            "--freeze=stem..stage1 keeps what a new network does not have",
        ),
        (
            {"init_from": "", "freeze_statistics": True},
            "--freeze_statistics or --cache_features keeps what a new network does not have",
        ),
        ({"model": "resnet14_cifar"}, "is a run of resnet8_cifar, not of resnet14_cifar"),
        ({"width": 4}, "are weights of a network with width=2, and this one has width=4"),
        ({"freeze": "layer1"}, "--freeze=layer1 matches no parameter; the network has"),
        ({"freeze": "*"}, "leaves nothing that learns"),
        (
            {"cache_features": 1},
            "--cache_features=1 needs all but the head frozen; stage1_block01",
        ),
        ({"init_from": "nowhere.pth"}, "nowhere.pth"),
        (
            {"cache_features": 1, "freeze": "stem..stage3", "stochastic_depth": 0.1},
            "does not go with --stochastic_depth; leave out one of them",
        ),
        (
            {"cache_features": 1, "freeze": "stem..stage3", "unfreeze_at": 0.1, "mixup": 0.1},
            "does not go with --mixup, --unfreeze_at; leave out one of them",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_the_folder_is_taken(options, why, weights, tmp_path):
    with pytest.raises(InputError, match=why.replace("*", r"\*")):
        train(replace(TOY, **({"init_from": weights} | options), workdir=str(tmp_path / "run")))
    assert not (tmp_path / "run" / "config.json").exists()


def step_multiply_adds(freeze: str, monkeypatch) -> int:
    """Count the multiply-adds of a training step of ResNet-50 on images of 64 pixels."""
    monkeypatch.setenv("RESNET_JAX_FORMS", "")
    model: Any = create_model("resnet50", num_classes=10)
    shapes = abstract_variables(model, 64)
    is_frozen = frozen_by(freeze)
    tx = optax.sgd(0.1)
    state = TrainState(
        jax.ShapeDtypeStruct((), jnp.int32),  # type: ignore[arg-type]
        shapes["params"],
        shapes["batch_stats"],
        jax.eval_shape(tx.init, shapes["params"]),
    )
    batch = {"image": jnp.zeros((2, 64, 64, 3)), "label": jnp.zeros(2, jnp.int32), "mask": jnp.ones(2)}
    network = WithFrozenStatistics(model, is_frozen)
    step = partial(train_step, model=network, tx=tx, key=jax.random.key(0), is_frozen=is_frozen)
    return count_multiply_adds(jax.make_jaxpr(step)(state, batch).jaxpr)


@pytest.mark.slow
def test_no_gradient_is_computed_below_the_lowest_thing_that_learns(monkeypatch):
    whole = step_multiply_adds("", monkeypatch)
    assert step_multiply_adds("stem..stage3", monkeypatch) < 0.6 * whole
    assert step_multiply_adds("stem..stage4", monkeypatch) < 0.36 * whole


def test_weights_of_a_network_that_computes_something_else_are_refused():
    ours, theirs = (create_model("resnet8_cifar", blur_strides=blur) for blur in (False, True))
    config = replace(TOY, init_from="net.npz")
    with pytest.raises(InputError, match=r"net.npz are weights of a network with blur_strides=True, and this one has"):
        check_options(config, "resnet8_cifar", theirs, ours)
    check_options(config, "resnet8_cifar", create_model("resnet8_cifar", norm="frozen"), ours)


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_what_is_wrong_with_weights_of_a_whole_network_is_said(tmp_path, ending):
    name, file = "unet_resnet8_cifar", tmp_path / f"net.{ending}"
    variables: Any = random_variables(create_model(name, num_classes=3), 16)
    variables["params"]["decoder1"]["conv1"]["kernel"][0] = np.nan
    write_weights(file, name, variables)
    with pytest.raises(InputError, match=r"decoder1/conv1/kernel"):
        read_initial(Config(model=name, init_from=str(file)))


@pytest.mark.slow
def test_a_run_continues_where_its_weights_are_gone(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    convert(weights, "start.npz")
    config = replace(TOY, init_from="start.npz", steps=2, eval_every=1, workdir="run")
    done = train(config)
    (tmp_path / "start.npz").unlink()
    assert train(config) == done
