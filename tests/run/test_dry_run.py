"""Dry runs and pictures of batches."""

import re
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import cifar, imagenet, segment, show_batch
from resnet_jax.cli import parse_config
from resnet_jax.config.options import Config
from resnet_jax.data.order import Order
from resnet_jax.data.preprocessing import MEAN_STD
from resnet_jax.errors import InputError
from resnet_jax.optim.build import build_ema
from resnet_jax.recipes import CIFAR, IMAGENET, SEGMENTATION
from resnet_jax.run.dry_run import SMALL_SIZES, dry_run, trace_of
from tests.masked_pictures import write_pictures


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "recipe"), [*((imagenet, name) for name in IMAGENET), *((cifar, name) for name in CIFAR)]
)
def test_every_recipe_has_a_table_and_a_plot_without_its_data(command, recipe, tmp_path, capsys):
    command.main(["--dry_run", f"--recipe={recipe}", f"--workdir={tmp_path}"])
    printed = capsys.readouterr().out
    assert f"--recipe={recipe}" in printed
    lines = [line.split() for line in printed.splitlines()]
    header = lines.index(["step", "epoch", "rate", "decay", "pixels", "ema"])
    table = lines[header + 1 : -1]
    assert len(table) == 13
    assert table[0][:2] == ["0", "0.00"]
    with Image.open(tmp_path / "dry_run.png") as plot:
        assert plot.width > 500
    assert [path.name for path in tmp_path.iterdir()] == ["dry_run.png"]


@pytest.mark.slow
@pytest.mark.parametrize("network", ["unet_resnet8_cifar", "fcn_resnet18", "unet"])
@pytest.mark.parametrize("recipe", SEGMENTATION)
def test_every_recipe_of_masks_has_one_for_every_network(network, recipe, tmp_path, capsys):
    root = write_pictures(tmp_path / "set", {"train": 4, "val": 2}, sizes=((48, 64),))
    argv = [f"--model={network}", f"--recipe={recipe}", f"--data_dir={root}", f"--workdir={tmp_path / 'run'}"]
    segment.main([*argv, "--dry_run", "--crop_size", "32", "40"] if recipe == "scratch" else [*argv, "--dry_run"])
    pixels = {"scratch": "40", "frozen": "64", "finetune": "256"}[recipe]
    assert capsys.readouterr().out.splitlines()[-2].split()[4] == pixels


def test_images_of_no_size_have_the_size_that_a_training_gives_them(tmp_path):
    fake = Config(model="resnet18", width=4, dataset="fake", image_size=0, workdir=str(tmp_path))
    assert dry_run(fake).image_size[0] == 224
    alone = replace(fake, image_size=32, batch_size=1)
    with pytest.raises(InputError, match="one value per channel"):
        dry_run(alone)
    dry_run(replace(alone, freeze_statistics=True))  # as the training takes it


def test_every_set_of_small_images_has_a_size():
    assert SMALL_SIZES.keys() == MEAN_STD.keys()


def test_the_trace_is_what_training_does():
    config = replace(Config(model="x"), **IMAGENET["ffcv16"].settings)
    trace = trace_of(config, images=100 * 4096, points=1600)
    np.testing.assert_array_equal(trace.step, np.arange(1600))
    assert trace.learning_rate[200] == pytest.approx(1.7)
    assert [trace.image_size[s] for s in (0, 1199, 1200, 1300, 1599)] == [160, 160, 192, 192, 192]
    # Of SGD with L2 and momentum 0.9, a decaying weight loses ten times rate x coefficient.
    assert trace.decay[200] == pytest.approx(10 * 1.7 * 1e-4)


@pytest.mark.parametrize("ema_every", [1, 4, 100])
def test_the_trace_of_an_average_is_that_of_its_next_update(ema_every):
    config = Config(model="x", steps=10, batch_size=8, ema=0.9, ema_every=ema_every)
    every = min(ema_every, 10)  # once at least, at the end
    ema = build_ema(config, 10)
    assert ema is not None
    expected = [float(ema.decay_at(jnp.asarray((step // every + 1) * every))) for step in range(10)]
    np.testing.assert_allclose(trace_of(config, images=80, points=10).ema, expected, rtol=1e-6)
    assert expected[-1] < 1


@pytest.mark.parametrize(("images", "batch"), [(1_281_167, 4096), (1_281_167, 256), (9_469, 256), (2_500, 64)])
def test_images_grow_in_ffcvs_epochs_whatever_the_batch(images, batch):
    config = replace(Config(model="x"), **IMAGENET["ffcv16"].settings)
    trace = trace_of(replace(config, batch_size=batch), images, points=10**6)
    grown = trace.epoch[trace.image_size == 192]
    # Halfway between 160 and 192 in epoch 12, ffcv rounds half to even, to 192.
    assert 12 <= grown.min() < 12 + 2 * batch / images


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (["--model=nonsense"], "--model=nonsense: there is no such network"),
        (["--optimizer=lamb", "--decay=l2"], "--optimizer=lamb --decay=l2"),
        (["--auto_augment=bogus"], "--auto_augment=bogus"),
        (["--folds=1"], "--folds=1 --fold=0: take 2 folds"),
        (["--dataset=folder", "--padding_mode=reflect"], "--padding_mode=reflect does nothing here"),
        (["--mean", "0.5", "0.5", "--std", "0", "0", "0"], "--mean 0.5 0.5: give three numbers"),
    ],
)
def test_a_dry_run_refuses_what_training_would(wrong, why, tmp_path):
    with pytest.raises(InputError, match=re.escape(why)):
        imagenet.main(["--dry_run", f"--workdir={tmp_path}", *wrong])
    assert not list(tmp_path.iterdir())


def test_an_unknown_set_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none is not a folder"):
        imagenet.main(["--dry_run", "--dataset=folder", f"--data_dir={tmp_path / 'none'}", f"--workdir={tmp_path}"])


@pytest.mark.parametrize("options", [[], ["--recipe=fast", "--depth=8"], ["--epochs=3", "--flip=none"]])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "digits"])
def test_the_batch_of_small_images_is_drawn_with_the_options_of_the_command_that_trains(dataset, options, monkeypatch):
    configs = []
    monkeypatch.setattr(show_batch, "show_batch", configs.append)
    monkeypatch.setattr(cifar, "train", configs.append)
    for command in (show_batch, cifar):
        command.main([f"--dataset={dataset}", "--batch_size=16", *options])
    drawn, trained = configs
    assert drawn == replace(trained, workdir=drawn.workdir)
    assert drawn.recipe == ("fast" if "--recipe=fast" in options else "he2015")


@pytest.mark.slow
def test_the_picture_of_a_batch_has_its_labels(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        "resnet_jax.run.show_batch.draw_batch", lambda *args: drawn.update(zip("ilpt", args, strict=True))
    )
    options = ["--dataset=digits", "--recipe=rsb_a3", "--batch_size=16"]
    show_batch.main([*options, "--repeats=2", f"--workdir={tmp_path}"])
    assert drawn["i"].shape == (16, 8, 8, 3)
    assert drawn["t"].startswith("rsb_a3: ")
    assert "random_resized" not in drawn["t"]  # small images are moved, whatever the recipe does to photographs
    assert drawn["i"].min() >= 0
    assert drawn["i"].max() <= 1
    _, index, view = Order(0, 1437, 16, repeats=2).rows(0)
    assert view.tolist() == [0] * 8 + [1] * 8
    assert index[:8].tolist() == index[8:].tolist()
    # Mixed with the neighbor: each label names one or two classes, and their shares make a whole.
    for label in drawn["l"]:
        shares = [int(line.split()[1].rstrip("%")) for line in label.split("\n") if " " in line]
        assert not shares or sum(shares) == pytest.approx(100, abs=1)


def test_the_options_of_show_batch_are_those_of_training():
    config = parse_config(
        ["--recipe=rsb_a1", "--cutmix=0.5"], "x", "", show_batch.DEFAULTS, recipes=IMAGENET, family="resnet{depth}"
    )
    assert (config.cutmix, config.repeats) == (0.5, 3)
