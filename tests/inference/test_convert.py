"""Conversion keeps what a file says of its network."""

from typing import Any, cast

import jax
import numpy as np
import pytest

from experiments import convert as convert_command
from experiments import export
from resnet_jax.errors import InputError
from resnet_jax.inference.convert import convert
from resnet_jax.inference.trained import load_trained
from resnet_jax.inference.which_network import load_ensemble
from resnet_jax.models.registry import create_model
from resnet_jax.weights.pretrained import open_weights, write_weights
from resnet_jax.weights.shapes import variable_shapes
from tests.random_variables import random_variables


@pytest.mark.parametrize(("to", "ending"), [("ours", "npz"), ("torch", "safetensors")])
def test_a_network_with_options_is_loaded_again_after_conversions(tmp_path, capsys, to, ending):
    pytest.importorskip("safetensors")
    shapes = variable_shapes("resnet8_cifar", 10, {"width": 2})
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)
    write_weights(tmp_path / "first.npz", "resnet8_cifar", variables, options={"width": 2})
    convert(str(tmp_path / "first.npz"), tmp_path / f"x.{ending}", model="resnet8_cifar", to=to)
    assert open_weights("resnet8_cifar", tmp_path / f"x.{ending}").options == {"width": 2}
    trained = load_trained(model="resnet8_cifar", weights=tmp_path / f"x.{ending}")
    assert trained.model.width == 2
    logits: Any = trained.model.apply(trained.variables, np.zeros((1, 32, 32, 3), np.float32), train=False)
    assert logits.shape == (1, 10)
    assert "first.npz: images are resized to 32 pixels (bilinear), cropped to 32" in capsys.readouterr().err


def test_a_guess_does_not_become_a_fact_by_conversion(tmp_path, capsys):
    variables = random_variables(create_model("resnet8_cifar"), 32)
    write_weights(tmp_path / "mine.npz", "resnet8_cifar", variables)
    convert(str(tmp_path / "mine.npz"), tmp_path / "guessed.npz", model="resnet8_cifar")
    assert "guessed.npz does not say how images are preprocessed" in capsys.readouterr().err
    assert load_trained(model="resnet8_cifar", weights=tmp_path / "guessed.npz").assumed
    halves = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    later = load_trained(model="resnet8_cifar", weights=tmp_path / "guessed.npz", **halves)
    assert later.preprocessing.mean == (0.5, 0.5, 0.5)
    assert not later.assumed

    capsys.readouterr()
    argv = [
        "--model=resnet8_cifar",
        f"--out={tmp_path / 'said.npz'}",
        *["--mean", ".5", ".5", ".5", "--std", ".5", ".5", ".5"],
    ]
    convert_command.main([str(tmp_path / "mine.npz"), *argv])
    assert "does not say" not in capsys.readouterr().err
    said = load_trained(model="resnet8_cifar", weights=tmp_path / "said.npz")
    assert said.preprocessing == later.preprocessing
    assert not said.assumed


def test_the_weights_that_are_read_are_not_replaced(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "net.safetensors"
    path.write_text("weights")
    with pytest.raises(InputError, match=r"net.safetensors is the file that is read; name another"):
        convert(str(path), path, model="resnet8_cifar")
    (tmp_path / "link.safetensors").symlink_to(path)
    with pytest.raises(InputError, match=r"link.safetensors is the file that is read; name another"):
        convert(str(path), tmp_path / "link.safetensors", model="resnet8_cifar")
    with pytest.raises(InputError, match=r"net.safetensors is the file that is read; name another"):
        export.main(["--model=resnet8_cifar", f"--weights={path}", f"--out={path}"])
    assert path.read_text() == "weights"


def test_a_folder_with_another_librarys_config_is_no_run(tmp_path):
    (tmp_path / "config.json").write_text('{"architecture": "resnet50"}')
    with pytest.raises(InputError, match=r"is not a run's folder: name the network with --model=NAME"):
        convert(str(tmp_path), tmp_path / "net.npz")
    with pytest.raises(InputError, match=r"there is no run in it \(its config.json is of something else\)"):
        load_trained(str(tmp_path))


def test_a_crop_that_is_larger_than_the_resized_image_is_refused(tmp_path):
    variables = random_variables(create_model("resnet8_cifar"), 32)
    write_weights(tmp_path / "net.npz", "resnet8_cifar", variables)
    with pytest.raises(InputError, match="--resize=24: the network sees 32 x 32 pixels"):
        load_trained(model="resnet8_cifar", weights=tmp_path / "net.npz", resize=24)


def test_options_that_a_source_does_not_have_are_refused(tmp_path):
    variables = random_variables(create_model("resnet8_cifar"), 32)
    write_weights(tmp_path / "net.npz", "resnet8_cifar", variables)
    with pytest.raises(InputError, match="--checkpoint=best is of a run, and --model=resnet8_cifar has one set"):
        convert(str(tmp_path / "net.npz"), tmp_path / "out.npz", model="resnet8_cifar", checkpoint="best")
    with pytest.raises(InputError, match="--num_classes=5 is of a file of weights: a run knows its classes"):
        load_trained(tmp_path, num_classes=5)


def test_the_folder_of_a_run_given_as_weights_is_named(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json").touch()
    with pytest.raises(InputError, match=f"is the folder of a run: name it as --workdir={tmp_path}, without --model"):
        load_trained(model="resnet8_cifar", weights=tmp_path)


@pytest.mark.parametrize("option", ["image_size", "resize", "num_classes"])
def test_a_negative_size_is_one_line(option):
    with pytest.raises(InputError, match=f"--{option}=-3 must be at least 1, or 0 for the network's own"):
        load_trained(**cast(Any, {"model": "resnet8_cifar", option: -3}))


def test_options_of_runs_are_refused_where_an_ensemble_has_none():
    with pytest.raises(InputError, match="--ema is of a run, and --ensemble a:x b:y names none"):
        load_ensemble(["a:x", "b:y"], ema=True)
