"""Masks by a trained network: what their files may not replace, and what its weights' file tells of them."""

from dataclasses import asdict, replace

import jax
import numpy as np
import pytest

from experiments import predict as command
from resnet_jax.config.options import Config
from resnet_jax.data.sources.mask_coding import MaskCoding
from resnet_jax.errors import InputError
from resnet_jax.evaluation import masks, picture_scores
from resnet_jax.evaluation.mask_report import true_shares, write_mask_report
from resnet_jax.evaluation.masks import evaluate_masks
from resnet_jax.inference.convert import write_trained
from resnet_jax.inference.segment import check_outputs, coding_of, mask_paths, short_side_of, shown_colors, threshold_of
from resnet_jax.inference.trained import load_trained
from resnet_jax.models.registry import create_model
from resnet_jax.training.pixel_metrics import pixel_confusion
from resnet_jax.weights.shapes import options_of
from tests.export.toys import toy
from tests.masked_pictures import write_pictures

FOREGROUND = MaskCoding(("foreground",), (255,), (), ((255, 255, 255),), binary=True)
OVERLAPPING = MaskCoding(("cell", "wall"), (255, 1), (), ((255, 255, 255),) * 2, binary=True)


def test_masks_replace_neither_the_pictures_nor_each_other(tmp_path):
    pictures = [tmp_path / "a" / "1.png", tmp_path / "b" / "1.jpg"]
    check_outputs(pictures[:1], FOREGROUND, tmp_path / "masks")
    with pytest.raises(InputError, match=r"a/1.png would be replaced by a mask; name another folder, --out=FOLDER"):
        check_outputs(pictures, FOREGROUND, tmp_path / "a")
    with pytest.raises(InputError, match=r"the masks of .*a/1.png and .*b/1.jpg are both .*masks/1.png"):
        check_outputs(pictures, FOREGROUND, tmp_path / "masks")
    (tmp_path / "images").mkdir()
    with pytest.raises(InputError, match=r"masks holds the masks of a data set; name another folder, --out=FOLDER"):
        check_outputs(pictures[:1], FOREGROUND, tmp_path / "masks")
    with pytest.raises(InputError, match=r"masks/cell holds the masks of a data set"):
        check_outputs(pictures[:1], FOREGROUND, tmp_path / "masks" / "cell")
    names = [path.name for path in mask_paths("x/1.jpg", OVERLAPPING, tmp_path)]
    assert names == ["1_cell.png", "1_wall.png", "1_overlay.jpg"]


def test_the_classes_of_a_picture_are_seen_on_white_and_black():
    assert shown_colors(FOREGROUND) == ((128, 0, 0),)
    assert len(set(shown_colors(OVERLAPPING))) == 2


@pytest.mark.parametrize("coding", [FOREGROUND, OVERLAPPING])
def test_a_file_of_weights_tells_what_masks_its_network_makes(tmp_path, coding, capsys):
    trained = toy("unet_resnet8_cifar", width=8, skips="add", output_stride=2)
    facts = {"mask_coding": asdict(coding), "threshold": 0.3, "eval_resize": 24}
    write_trained(tmp_path / "net.npz", replace(trained, class_names=None, facts=facts), "ours", "here")
    found = load_trained(model="unet_resnet8_cifar", weights=tmp_path / "net.npz", num_classes=10)
    assert coding_of(found) == coding
    assert threshold_of(found, coding) == 0.3
    assert short_side_of(found) == 24
    assert "here: images are resized to 24 pixels (bilinear), mean" in capsys.readouterr().err
    assert found.model.backbone().output_stride == 2


def test_weights_that_name_no_classes_have_numbers(tmp_path, capsys):
    """And not the names of ImageNet's, which are many more than the outputs."""
    trained = toy("fcn_resnet8_cifar", width=8)
    write_trained(tmp_path / "net.npz", replace(trained, class_names=None), "ours", "here")
    found = load_trained(model="fcn_resnet8_cifar", weights=tmp_path / "net.npz", num_classes=10)
    assert (found.class_names, found.dataset) == (None, "")
    assert "here: images are taken as they are, mean" in capsys.readouterr().err
    assert coding_of(found).class_names == tuple(f"class {k}" for k in range(10))
    scores = evaluate_masks(found, data_dir=str(write_pictures(tmp_path / "root", {"val": 2})))
    assert 0 <= scores["pixel_accuracy"] <= 1


def test_the_report_of_weights_scores_at_the_size_of_their_training(tmp_path):
    """Which a file of weights tells, as its run does: pictures and masks at 16 pixels of height, not at 24."""
    trained = toy("fcn_resnet8_cifar", width=8)
    facts = {"mask_coding": asdict(coding_of(trained)), "eval_resize": 16}
    write_trained(tmp_path / "net.npz", replace(trained, class_names=None, facts=facts), "ours", "here")
    found = load_trained(model="fcn_resnet8_cifar", weights=tmp_path / "net.npz", num_classes=10)
    root = str(write_pictures(tmp_path / "root", {"val": 2}))
    (tmp_path / "pictures.csv").write_text("mine\n")
    with pytest.raises(InputError, match=r"pictures.csv is not a report's table and would be replaced; move it"):
        write_mask_report(found, tmp_path / "report.html", data_dir=root, num_workers=0)
    (tmp_path / "pictures.csv").unlink()
    report = write_mask_report(found, tmp_path / "report.html", data_dir=root, num_workers=0)
    scores = evaluate_masks(found, data_dir=root)
    assert 0 < report.matrix.sum() < 2 * 16 * 22  # a part is void
    np.testing.assert_allclose(report.scores["pixel_accuracy"], scores["pixel_accuracy"], rtol=1e-6)
    np.testing.assert_allclose(report.scores["miou"], scores["miou"], rtol=1e-6)


def test_of_each_picture_two_numbers_are_kept_and_memory_that_does_not_suffice_is_one_line(tmp_path, monkeypatch):
    trained = toy("fcn_resnet8_cifar", width=8)
    trained = replace(trained, class_names=None, facts={"mask_coding": asdict(coding_of(trained))})
    source = masks.open_masks_for(trained, data_dir=str(write_pictures(tmp_path, {"val": 2})))
    arguments = (source, lambda image: np.zeros(image.shape[:2], np.uint8), masks.task_of(trained), coding_of(trained))
    total, each = picture_scores.score_pictures(*arguments, 0)
    label = np.stack([source[k].label for k in (0, 1)])
    counted = [(one != 255).sum() for one in label]
    right = [(one == 0).sum() for one in label]
    assert [one.accuracy for one in each] == pytest.approx(np.divide(right, counted))
    assert pixel_confusion(total).sum() == sum(counted)
    assert [len(one) for one in each] == [2, 2]

    def exhausted(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(picture_scores, "logits_of", exhausted)
    with pytest.raises(InputError, match=r"^the memory does not suffice; evaluate it in tiles: .* --tile=512$"):
        picture_scores.score_pictures(*arguments, 0)


def test_another_folder_is_of_the_data_set_of_the_run(monkeypatch):
    """TFDS's masks stay those, and the folder is where they were prepared."""
    opened = []
    run = Config(dataset="masks:pets", data_dir="/old")
    trained = replace(toy("fcn_resnet8_cifar", width=8), run=run)

    def note(split, data_dir, name):
        opened.append((name, data_dir))
        raise InputError("noted")

    monkeypatch.setattr(masks, "open_masks_uncoded", note)
    weights = replace(trained, run=None)
    for network, dataset, data_dir in (
        (trained, "", ""),
        (trained, "", "/new"),
        (trained, "masks", "/new"),
        (weights, "", "/new"),
    ):
        with pytest.raises(InputError, match="noted"):
            masks.open_masks_for(network, dataset, data_dir)
    assert opened == [("masks:pets", "/old"), ("masks:pets", "/new"), ("masks", "/new"), ("masks", "/new")]


def test_a_bad_picture_among_several_leaves_no_masks(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(command, "load_named", lambda options: toy("unet_resnet8_cifar", width=8, skips="add"))
    images = write_pictures(tmp_path / "root", {"val": 2}) / "val" / "images"
    (images / "2.png").write_bytes((images / "1.png").read_bytes()[:60])
    pictures = [str(images / f"{number}.png") for number in range(3)]
    argv = ["--model=unet_resnet8_cifar", f"--out={tmp_path / 'masks'}"]
    with pytest.raises(InputError, match=r"images/2\.png"):
        command.main([*argv, *pictures])
    assert not (tmp_path / "masks").exists()
    command.main([*argv, *pictures[:2]])
    assert sorted(path.name for path in (tmp_path / "masks").glob("*.png")) == ["0.png", "1.png"]
    assert "0.png: " in capsys.readouterr().out


def test_the_options_of_an_encoder_are_among_those_of_the_network():
    model = create_model("fcn_resnet50", output_stride=16)
    assert options_of("fcn_resnet50", model) == {"output_stride": 16}
    assert options_of("fcn_resnet50", create_model("fcn_resnet50")) == {}


def test_the_shares_of_overlapping_classes_are_of_all_pixels():
    matrix = np.array([[[60, 10], [10, 20]], [[90, 0], [5, 5]]])
    np.testing.assert_allclose(true_shares(matrix), [0.3, 0.1])
    np.testing.assert_allclose(true_shares(np.array([[3, 1], [0, 4]])), [0.5, 0.5])


@pytest.mark.parametrize(
    ("options", "message"), [(["--json", "x.png"], "--json is for networks that classify images"), ([], "name")]
)
def test_options_without_effect_are_refused(monkeypatch, options, message):
    monkeypatch.setattr(command, "load_named", lambda options: toy("unet_resnet8_cifar", width=8, skips="add"))
    with pytest.raises(InputError, match=message):
        command.main(["--model=unet_resnet8_cifar", *options])


def test_a_damaged_description_of_masks_is_one_line():
    with pytest.raises(InputError, match=r"a toy: what it says of its masks cannot be read \(KeyError\('colors'\)\)"):
        coding_of(replace(toy("unet_resnet8_cifar"), facts={"mask_coding": {}}))
