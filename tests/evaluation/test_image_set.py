"""The set that a network is evaluated on: a part of its classes, links, and another set than that of its training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import prepare
from resnet_jax.config.options import Config
from resnet_jax.data.notices import print_notice
from resnet_jax.data.prepared.format import read_manifest
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.data.sources.load import load_source
from resnet_jax.data.sources.source import example_digest
from resnet_jax.errors import InputError
from resnet_jax.evaluation import evaluate as module
from resnet_jax.evaluation.evaluate import evaluate
from resnet_jax.evaluation.image_set import changed_since_training, image_set, open_set, refuse_training_images
from resnet_jax.inference.subset import with_classes
from resnet_jax.inference.trained import Trained
from resnet_jax.models.registry import create_model

CLASSES = ("ant", "bee", "cat", "dog")
PART = ("bee", "dog")


def write(root: Path, names, count=5) -> None:
    rng = np.random.default_rng(len(names))
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(root / name / f"{number}.png")


@pytest.fixture(scope="module")
def trained() -> Trained:
    model = create_model("resnet8_cifar", num_classes=4, width=2)
    variables = jax.jit(model.init)(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    return Trained("resnet8_cifar", model, variables, Preprocessing(8, 8), CLASSES, "net", dataset="folder")


def test_folds_of_one_set_are_no_ensemble_on_what_each_held_out(trained, tmp_path):
    run = Config(dataset="folder", data_dir=str(tmp_path), folds=2)
    folds = [replace(trained, source=f"fold{k}", run=replace(run, fold=k)) for k in (0, 1)]
    images = image_set(folds[0])
    with pytest.raises(InputError, match=r"^fold1 was trained on some of these images; .* --split=test, or"):
        refuse_training_images(folds, images)
    refuse_training_images([folds[0], replace(folds[0], run=replace(run, seed=1))], images)
    refuse_training_images(folds, image_set(folds[0], split="test"))
    refuse_training_images(folds, image_set(folds[0], dataset="folder", data_dir="elsewhere"))
    refuse_training_images([folds[0], trained], images)


@pytest.mark.parametrize("order", [1, -1])
def test_a_fold_and_a_run_on_the_same_folder_are_no_ensemble_in_any_order(trained, tmp_path, order):
    """The folder's own val/ is pooled with train/ for the folds: each has trained on images of the other."""
    (tmp_path / "link").symlink_to(tmp_path)
    run = Config(dataset="folder", data_dir=str(tmp_path))
    folds = replace(run, folds=5, data_dir=str(tmp_path / "link"))
    members = [replace(trained, source=f"net{k}", run=r) for k, r in enumerate((run, folds))][::order]
    with pytest.raises(InputError, match=r"^net\d was trained on some of these images"):
        refuse_training_images(members, image_set(members[0]))
    refuse_training_images(members, image_set(members[0], split="test"))
    refuse_training_images(members, image_set(members[0], dataset="folder", data_dir="elsewhere"))
    with pytest.raises(InputError, match=r"^net1 was trained on some of these images"):
        refuse_training_images(members, image_set(members[0], dataset="folder", data_dir=str(tmp_path)))


def test_a_fold_alone_is_evaluated_on_a_folder_as_a_whole(trained, tmp_path):
    fold = replace(trained, run=Config(dataset="folder", data_dir=str(tmp_path), folds=2))
    refuse_training_images([fold], image_set(fold, dataset="folder", data_dir=str(tmp_path)))


@pytest.mark.slow
def test_a_part_of_the_classes_is_evaluated_by_their_names(trained, tmp_path, capsys):
    print_notice.cache_clear()  # each line once in a process
    write(tmp_path / "part", PART)
    folder: Any = {"dataset": "folder", "data_dir": str(tmp_path / "part"), "num_workers": 0, "batch_size": 8}
    with pytest.raises(InputError, match=r"has 2 of the network's 4 classes; .* --subset counts these alone"):
        evaluate(trained, **folder)
    result = evaluate(trained, **folder, subset=True)
    source = load_source("folder", "val", str(tmp_path / "part"), 0)
    crop, images = trained.preprocessing.crop(), []
    for index in range(len(source)):
        images.append(crop(np.asarray(Image.open(source[index].name))))
    batch = trained.preprocessing.normalize({"image": np.stack(images)})["image"]
    logits = np.asarray(trained.model.apply(trained.variables, batch, train=False))[:, [1, 3]]
    label = np.array([source[index].label for index in range(len(source))])
    log_scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert result["top1"] == pytest.approx((logits.argmax(axis=1) == label).mean())
    assert result["loss"] == pytest.approx(-log_scores[np.arange(10), label].mean(), rel=1e-4)
    assert result["num_examples"] == 10
    two = evaluate([trained, trained], **folder, subset=True)
    assert two["loss"] == pytest.approx(result["loss"], rel=1e-4)
    printed = capsys.readouterr().err.splitlines()
    assert printed.count("net: of 4 classes the set's 2 alone count (--subset)") == 1


def test_classes_that_the_network_lacks_are_named(trained):
    with pytest.raises(InputError, match=r"--subset: net has no class 'cow', 'elk' among its 4; "):
        with_classes(trained, ["bee", "cow", "elk"])
    with pytest.raises(InputError, match="those of the classes of net are not known"):
        with_classes(replace(trained, class_names=None), PART)


def test_links_out_of_the_folder_need_the_option(trained, tmp_path):
    write(tmp_path / "elsewhere", CLASSES[:1])
    write(tmp_path / "data", CLASSES[1:])
    (tmp_path / "data" / "ant").symlink_to(tmp_path / "elsewhere" / "ant")
    folder: Any = {"dataset": "folder", "data_dir": str(tmp_path / "data"), "num_workers": 0}
    with pytest.raises(InputError, match="or allow it, --links_out"):
        evaluate(trained, **folder)
    assert evaluate(trained, **folder, links_out=True)["num_examples"] == 20
    options = [f"--data_dir={tmp_path / 'data'}", f"--out={tmp_path / 'out'}", "--splits=val", "--num_workers=0"]
    with pytest.raises(InputError, match="or allow it, --links_out"):
        prepare.main(options)
    prepare.main([*options, "--links_out"])
    assert len(read_manifest(tmp_path / "out")["class_names"]) == 4


def test_another_set_than_that_of_the_training_is_said(trained, tmp_path, capsys):
    for split in ("train", "val"):
        write(tmp_path / "data" / split, CLASSES)
    run = Config(model="resnet8_cifar", dataset="folder", data_dir=str(tmp_path / "data"))
    sources = {split: load_source("folder", split, run.data_dir, 0) for split in ("train", "val")}
    facts = {"num_train": 20, "num_test": 20}
    facts |= {f"{n}_examples": example_digest(sources[s]) for n, s in (("train", "train"), ("test", "val"))}
    network = replace(trained, run=run, facts=facts)

    def changed(split, **options):
        images = image_set(network, split=split, **options)
        return changed_since_training(images, network, open_set(images, network, 8))

    assert changed("val") == changed("train") == ""
    first = tmp_path / "data" / "val" / "ant" / "0.png"
    first.rename(first.with_name("9.png"))
    assert changed("val") == "the validation images in data have other names than in the training: another set"
    first.with_name("9.png").unlink()
    assert changed("val") == "19 validation images in data, where the training had 20: another set"
    assert changed("train") == ""
    assert evaluate(network, num_workers=0, batch_size=8)["num_examples"] == 19
    assert "19 validation images in data, where the training had 20: another set" in capsys.readouterr().err
    assert changed("val", dataset="folder", data_dir=str(tmp_path / "data" / "val")) == ""


def test_memory_that_does_not_suffice_is_one_line(trained, tmp_path, monkeypatch):
    def exhausted(*arguments: Any) -> Any:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4 bytes.")

    write(tmp_path, CLASSES, count=1)
    monkeypatch.setattr(module, "jit_eval_step", lambda *arguments: exhausted)
    with pytest.raises(InputError, match=r"^the memory does not suffice; take a smaller --batch_size than 16$"):
        evaluate(trained, dataset="folder", data_dir=str(tmp_path), num_workers=0, batch_size=16)
