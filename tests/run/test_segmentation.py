"""Trainings on masks: the same loop, checkpoints and continuation; one number whatever the batches and devices."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

from experiments import evaluate as evaluate_command
from experiments import predict as predict_command
from experiments import report as report_command
from resnet_jax.config.checks import check_config
from resnet_jax.config.options import Config
from resnet_jax.data.decode import decode_image
from resnet_jax.errors import InputError
from resnet_jax.evaluation import mask_report
from resnet_jax.evaluation.masks import Tiling, evaluate_masks
from resnet_jax.inference.segment import coding_of
from resnet_jax.inference.trained import load_trained
from resnet_jax.recipes.recipe import AT_THE_END
from resnet_jax.run.train import train
from resnet_jax.workdir.metrics_log import read_rows
from tests.masked_pictures import VOID, write_pictures
from tests.run.test_gradual import interrupted

TOY = Config(
    model="unet_resnet8_cifar",
    dataset="masks",
    skips="add",
    width=8,
    image_size=0,
    crop_size=(16, 24),
    scale=(0.8, 1.2),
    batch_size=8,
    steps=6,
    optimizer="adamw",
    learning_rate=0.01,
    reference_batch_size=0,
    schedule="linear",
    log_every=2,
    eval_every=3,
    num_workers=0,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_pictures(
        tmp_path_factory.mktemp("set"), {"train": 12, "val": 7, "test": 3}, sizes=((24, 32), (20, 28))
    )


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("run")
    train(replace(TOY, data_dir=str(root), workdir=str(workdir)))
    return workdir


def of(workdir: Path):
    return load_trained(str(workdir))


def printed(row) -> dict[str, str]:
    return {name: f"{value:.4f}" for name, value in row.items()}


@pytest.mark.slow
def test_a_run_logs_the_metrics_of_pixels(finished):
    rows = read_rows(finished / "metrics.jsonl")
    assert [(row["step"], row["split"]) for row in rows] == [
        *[(2, "train"), (3, "eval"), (4, "train"), (6, "train"), (6, "eval")],
    ]
    last = rows[-1]
    assert {"loss", "miou", "pixel_accuracy", "class_accuracy", "boundary_f", "iou/class 2"} <= set(last)
    assert last["num_examples"] == 7
    facts = json.loads((finished / "config.json").read_text())
    assert facts["class_names"] == ["class 0", "class 1", "class 2"]
    assert facts["mask_coding"]["void"] == [VOID]


@pytest.mark.slow
def test_the_evaluation_is_the_runs_and_does_not_depend_on_the_batch(finished):
    logged = read_rows(finished / "metrics.jsonl")[-1]
    for size in (1, 3, 16):
        found = evaluate_masks(of(finished), batch_size=size, num_workers=0)
        assert printed(found) == {name: f"{logged[name]:.4f}" for name in found}


@pytest.mark.slow
def test_the_evaluation_is_that_of_a_loop_over_pictures(finished, root):
    trained = of(finished)
    pairs = []
    for number in range(7):
        image = np.array(Image.open(root / f"val/images/{number}.png"))
        label = np.array(Image.open(root / f"val/masks/{number}.png"))
        batch = trained.preprocessing.normalize({"image": image[None]})
        found = np.asarray(trained.model.apply(trained.variables, batch["image"]))[0].argmax(-1)
        pairs.append((label[label != VOID], found[label != VOID]))
    label, found = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    ious = [((label == k) & (found == k)).sum() / ((label == k) | (found == k)).sum() for k in range(3)]
    assert evaluate_masks(trained, num_workers=0)["miou"] == pytest.approx(np.mean(ious), rel=1e-9)


@pytest.mark.slow
def test_mirror_images_and_tiles_are_evaluated_too(finished):
    trained = of(finished)
    whole = evaluate_masks(trained, num_workers=0)
    assert evaluate_masks(trained, views="flip", num_workers=0)["miou"] != whole["miou"]
    assert printed(evaluate_masks(trained, tiling=Tiling(32, 32), num_workers=0)) == printed(whole)
    assert evaluate_masks(trained, short=40, num_workers=0)["num_examples"] == 7


@pytest.mark.slow
def test_a_run_that_is_interrupted_ends_as_the_unbroken_one(finished, root, tmp_path, monkeypatch):
    halves = replace(TOY, data_dir=str(root), workdir=str(tmp_path))
    interrupted(halves, 3, monkeypatch)
    result = train(halves)
    assert result["fingerprint"] == json.loads((finished / "result.json").read_text())["fingerprint"]
    rows, expected = (
        [{n: v for n, v in row.items() if n != "waiting"} for row in read_rows(path / "metrics.jsonl")]
        for path in (tmp_path, finished)
    )
    assert rows == expected


@pytest.mark.slow
def test_the_report_scores_what_the_training_scored_and_empty_pictures_come_last(tmp_path, capsys, monkeypatch):
    root = write_pictures(tmp_path / "set", {"train": 8, "val": 3}, sizes=((24, 32),))
    for path in root.rglob("masks/*.png"):
        empty = path.name == "1.png"
        Image.fromarray(((np.array(Image.open(path)) == 1) & (not empty)).astype(np.uint8)).save(path)
    workdir = tmp_path / "run"
    result = train(replace(TOY, data_dir=str(root), eval_resize=40, workdir=str(workdir)))
    report_command.main([f"--workdir={workdir}", "--num_workers=0"])
    assert f"mean IoU {result['miou']:.4f}, pixel accuracy {result['pixel_accuracy']:.4f}" in capsys.readouterr().out
    nothing = lambda *_, **__: lambda image: np.zeros((40, 53, 1), np.uint8)  # noqa: E731
    monkeypatch.setattr(mask_report, "build_labeling", nothing)
    report_command.main([f"--workdir={workdir}", "--num_workers=0"])
    page = re.sub(r"data:image[^\"]*", "", (workdir / "report.html").read_text())
    worst = page[page.index('id="worst"') : page.index('id="best"')]
    assert worst.index("images/1.png") > max(worst.index("images/0.png"), worst.index("images/2.png"))
    assert "IoU -" in worst
    assert "nan" not in page
    assert (workdir / "pictures.csv").read_text().splitlines()[2] == "images/1.png,,1.000000"


def encoder_of(tmp_path: Path) -> str:
    """The folder of a classifier's run on digits, whose weights are an encoder's."""
    classifier = Config(
        model="resnet8_cifar",
        dataset="digits",
        image_size=0,
        batch_size=64,
        steps=2,
        eval_every=2,
        learning_rate=0.05,
        reference_batch_size=0,
        num_workers=0,
        workdir=str(tmp_path / "classifier"),
    )
    train(classifier)
    return classifier.workdir


FROZEN = replace(TOY, freeze="backbone", crop_size=(), scale=(1.0, 1.0), flip="alternating", eval_every=6)


@pytest.mark.slow
def test_a_frozen_encoder_is_computed_once_and_trains_the_same_decoder(root, tmp_path, capsys):
    weights = encoder_of(tmp_path)
    # Pictures of one size, used whole, so that two views are all that an epoch can show.
    same = write_pictures(tmp_path / "same", {"train": 8, "val": 8}, sizes=((16, 24),))
    config = replace(FROZEN, data_dir=str(same), init_from=weights)
    plain = train(replace(config, workdir=str(tmp_path / "plain")))
    cached = train(replace(config, workdir=str(tmp_path / "cached"), cache_features=2))
    assert "starting from" in (output := capsys.readouterr().out)
    assert "the encoder, a resnet8_cifar; the rest is new; frozen: backbone" in output
    with pytest.raises(InputError, match=r"with blur_strides=False, and this one has blur_strides=True"):
        train(replace(config, blur_strides=True, workdir=str(tmp_path / "blur")))
    assert "computing the features of 8 images, 2 views of each" in output
    assert cached["loss"] == pytest.approx(plain["loss"], rel=2e-3)  # float16 features
    before, after, whole = (
        load_trained(str(path)).variables for path in (weights, tmp_path / "cached", tmp_path / "plain")
    )
    for run in (after, whole):
        encoder = {kind: tree["backbone"] for kind, tree in run.items()}
        for kind in encoder:
            own = {name: leaf for name, leaf in before[kind].items() if name != "head"}
            assert jax.tree.all(jax.tree.map(np.array_equal, encoder[kind], own))


@pytest.mark.slow
def test_the_other_kinds_train_and_are_used(root, tmp_path):
    """FCN with its auxiliary head, dice, focal loss, weights, an average, and overlapping classes."""
    binary = tmp_path / "binary"
    for split in ("train", "val"):
        for path in (root / split / "masks").glob("*.png"):
            raw = np.array(Image.open(path))
            for name, member in (("cell", raw == 1), ("other", raw == 2)):
                target = binary / split / "masks" / name / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.where(member, 255, 0).astype(np.uint8)).save(target)
        (binary / split / "images").symlink_to(root / split / "images")
    for number, options in enumerate(
        (
            {"model": "fcn_resnet8_cifar", "skips": "", "width": 0, "class_weights": "median_frequency", "ema": 0.9},
            {"loss": "entropy_and_dice", "accumulate": 2, "batch_size": 16, "class_weights": "balanced"},
            {"loss": "focal", "rotate": 10.0, "color_jitter": 0.1, "dtype": "bfloat16"},
            {"data_dir": str(binary), "loss": "entropy_and_dice", "threshold": 0.4},
        )
    ):
        settings: dict[str, Any] = {"data_dir": str(root)} | options
        config = replace(TOY, **settings, steps=2, eval_every=2, workdir=str(tmp_path / str(number)))
        result = train(config)
        assert np.isfinite(result["loss"])
        assert ("ema_miou" in result) == (config.ema > 0)
    trained = load_trained(str(tmp_path / "3"))
    assert (coding_of(trained).binary, trained.class_names) == (True, ("cell", "other"))
    assert evaluate_masks(trained, num_workers=0)["num_examples"] == 7
    picture = root / "test/images/0.png"
    predict_command.main([f"--workdir={tmp_path / '3'}", f"--out={tmp_path / 'out'}", str(picture)])
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"0_cell.png", "0_other.png", "0_overlay.jpg"}


@pytest.mark.slow
def test_masks_are_written_as_palettes_with_the_values_of_the_training(finished, root, tmp_path, capsys):
    pictures = [str(root / f"test/images/{n}.png") for n in (0, 1)]
    predict_command.main([f"--workdir={finished}", f"--out={tmp_path}", *pictures])
    image = Image.open(tmp_path / "1.png")
    assert (image.mode, image.size) == ("P", (28, 20))
    assert set(np.unique(np.array(image))) <= {0, 1, 2}
    assert decode_image((tmp_path / "1_overlay.jpg").read_bytes(), "1").shape == (20, 28, 3)
    assert re.search(r"\d+\.\d\d%  class 0", capsys.readouterr().out)


@pytest.mark.slow
def test_the_commands_print_the_result(finished, root, tmp_path, capsys):
    evaluate_command.main([f"--workdir={finished}", "--split=test", "--num_workers=0"])
    output = capsys.readouterr().out
    assert re.match(r"mean IoU 0\.\d{4}, pixel accuracy .* boundary F .* over 3 pictures", output)
    assert "class 1" in output
    with pytest.raises(InputError, match="--precise_bn is for networks that classify images"):
        evaluate_command.main([f"--workdir={finished}", "--precise_bn=10", f"--data_dir={root}"])
    page = tmp_path / "page.html"
    report_command.main([f"--workdir={finished}", f"--out={page}", "--num_workers=0"])
    text = page.read_text()
    logged = read_rows(finished / "metrics.jsonl")[-1]
    assert f"mean IoU {logged['miou']:.4f}" in capsys.readouterr().out
    for section in ("result", "curves", "classes", "confusion", "worst", "best", "origin"):
        assert f'id="{section}"' in text
    assert text.count("data:image/jpeg") == 3 * 2 * 7
    assert len((tmp_path / "pictures.csv").read_text().splitlines()) == 8
    report_command.main([f"--workdir={finished}", "--split=test", "--num_workers=0"])
    assert (finished / "report-test.html").exists()
    assert not (finished / "pictures.csv").exists()
    names = [line.split(",")[0] for line in (finished / "pictures-test.csv").read_text().splitlines()]
    assert names == ["picture", "images/0.png", "images/1.png", "images/2.png"]


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"mixup": 0.2}, "--mixup=0.2 does not go with masks"),
        ({"auto_augment": "ta_wide"}, "--auto_augment=ta_wide does not go with masks"),
        ({"crop_size": (8,)}, "--crop_size 8: give height and width"),
        ({"crop_size": (), "scale": (0.5, 1.0)}, "--scale 0.5 1.0 needs crops"),
        ({"eval_views": "flip_translate"}, "--eval_views=flip_translate does not go with masks; take flip"),
        ({"loss": "dice", "label_smoothing": 0.1}, "--label_smoothing is of cross-entropy, not of --loss=dice"),
        ({"crop_scale": (0.5, 1.0)}, "--crop_scale 0.5 1.0 does not go with masks"),
        ({"patience": 2, "eval_every": AT_THE_END}, "--patience=2 does nothing here: it needs evaluations within"),
        ({"scale": (2.0, 1.0)}, "--scale 2.0 1.0: the smaller one comes first"),
        (
            {"dataset": "folder", "scale": (1.0, 1.0), "crop_size": (), "loss": "dice"},
            "--loss=dice is for --dataset=masks",
        ),
        ({"dataset": "folder", "scale": (1.0, 1.0)}, "--crop_size 16 24 does nothing here: it needs --dataset=masks"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, pattern):
    with pytest.raises(InputError, match=re.escape(pattern)):
        check_config(replace(TOY, **options))


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        (
            {"model": "resnet8_cifar", "skips": ""},
            "--model=resnet8_cifar classifies images, not pixels; take --model=unet_",
        ),
        ({"crop_size": (), "scale": (1.0, 1.0)}, "--image_size=0 takes whole pictures, and these have 2 sizes"),
        ({"loss": "binary_cross_entropy"}, "--loss=binary_cross_entropy is not for masks"),
        ({"cache_features": 1}, "--cache_features keeps what a new network does not have yet"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_folder_is_taken(options, pattern, root, tmp_path):
    workdir = tmp_path / "run"
    with pytest.raises(InputError, match=re.escape(pattern)):
        train(replace(TOY, data_dir=str(root), workdir=str(workdir), **options))
    assert not (workdir / "config.json").exists()
