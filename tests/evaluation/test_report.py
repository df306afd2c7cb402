"""The page of a report: whole by itself, with every section, and true."""

import base64
import csv
import dataclasses
import io
import re
from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from experiments import report
from resnet_jax.data.preprocessing import MEAN_STD, Preprocessing
from resnet_jax.data.sources.load import load_source
from resnet_jax.errors import InputError
from resnet_jax.evaluation import gallery
from resnet_jax.evaluation.gallery import data_uri, drawn, worst
from resnet_jax.evaluation.image_set import ImageSet
from resnet_jax.evaluation.options_shown import changed_options
from resnet_jax.evaluation.predictions import Predictions
from resnet_jax.evaluation.report import Report, write_report
from resnet_jax.evaluation.stored_predictions import subject_of
from resnet_jax.inference.trained import Trained, load_trained
from tests.export.toys import toy

from .conftest import CLASSES, ODD_FILE, TOY

SECTIONS = [
    "result",
    "curves",
    "confusion",
    "classes",
    "calibration",
    "pairs",
    "worst",
    "random",
    "duplicates",
    "origin",
]


class Page(HTMLParser):
    """What a page holds: ids, links to elsewhere, images, tags and text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.ids, self.links, self.images, self.tags, self.text = [], [], [], [], []
        self.open = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("src", "href", "xlink:href", "action", "data") if name in values]
        self.images += [values["src"]] if tag == "img" else []

    def handle_data(self, data):
        self.text.append(data)


def check_whole(html):
    """A page that needs nothing else: no address but its own sections and its own pictures, which all decode."""
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert not {"script", "iframe", "object"} & set(page.tags)
    for link in page.links:
        assert link.startswith("data:") or link.removeprefix("#") in page.ids, link
    for address in re.findall(r"url\(([^)]*)\)", html):
        assert address.removeprefix("#") in page.ids, address
    assert "@import" not in html
    for image in page.images:
        head, _, content = image.partition(",")
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as picture:
            picture.load()
            assert max(picture.size) == 160
    return page


@pytest.fixture(scope="module")
def page(odd_page):
    return check_whole(odd_page.read_text())


def test_every_section_is_there_in_order(page):
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS


def test_pictures_have_maps_and_the_duplicate_is_seen(page):
    # All eleven images are worst and random ones too, each with its map; and one pair.
    assert len(page.images) == 11 * 2 * 2 + 2
    text = " ".join(" ".join(page.text).split())
    assert "1 of 11 images look like training images (1 pair)" in text
    assert f"train/{CLASSES[0]}/3.png" in text


def test_odd_names_are_text(page, odd_page):
    html = odd_page.read_text()
    assert "<script" not in html
    assert "<b>ants" not in html
    text = "".join(page.text)
    assert ODD_FILE in text
    for name in CLASSES:
        assert name in text


def test_the_numbers_are_those_of_the_predictions(page, odd_page):
    with odd_page.with_name("predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["label"] == row["predicted"] for row in rows)
    text = " ".join("".join(page.text).split())
    assert f"{100 * right / 11:.1f} % of 11 images are right" in text
    mean = np.mean([float(row["loss"]) for row in rows])
    assert f"Loss{mean:.4f} nats" in text.replace("Loss ", "Loss")


def test_a_second_report_takes_the_stored_predictions(odd_run, odd_page, monkeypatch):
    def evaluated_again(*args, **kwargs):
        raise AssertionError

    monkeypatch.setattr("resnet_jax.evaluation.report.predict_set", evaluated_again)
    before = odd_page.with_name("predictions.csv").read_bytes()
    report.main([f"--workdir={odd_run}", "--num_workers=0"])
    assert odd_page.with_name("predictions.csv").read_bytes() == before
    with pytest.raises(AssertionError):
        report.main([f"--workdir={odd_run}", "--num_workers=0", "--split=train"])


def test_it_says_where_the_page_is_and_the_result(odd_run, tmp_path, capsys):
    report.main([f"--workdir={odd_run}", "--num_workers=0", "--split=train", f"--out={tmp_path}/x.html"])
    printed = capsys.readouterr().out
    assert f"the report is {tmp_path}/x.html" in printed
    assert re.search(r"top-1 \d\.\d{4} \(95 % interval .*over 16 images", printed)
    assert "These are the training images themselves" in (tmp_path / "x.html").read_text()


class NoStages(nn.Module):
    """A network without convolutions."""

    num_classes: int = 10

    @nn.compact
    def __call__(self, x, train=False, features=False):
        pooled = x.reshape(len(x), -1)
        logits = nn.Dense(self.num_classes)(pooled)
        return {"pooled": pooled, "logits": logits} if features else logits


def test_weights_of_no_run_have_a_report_too(tmp_path):
    model = NoStages()
    variables = model.init(jax.random.key(0), np.zeros((1, 8, 8, 3), np.float32))
    mean, std = MEAN_STD["digits"]
    trained = Trained("dense", model, variables, Preprocessing(8, 8, mean, std), None, "file.npz", "digits")
    found = write_report(trained, str(tmp_path / "report.html"), num_workers=0)
    html = (tmp_path / "report.html").read_text()
    page = check_whole(html)
    assert isinstance(found, Report)
    assert found.top1.total == 360
    assert len(page.images) == 40
    text = " ".join("".join(page.text).split())
    assert "no Grad-CAM maps" in text
    assert "The training images of file.npz are not known" in text
    assert "There is no log of a training" in text


def test_a_folder_that_is_not_there_is_refused_before_any_work(odd_run, tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        write_report(load_trained(odd_run), tmp_path / "no" / "report.html")
    for out in (tmp_path, tmp_path / "predictions.csv"):
        with pytest.raises(InputError, match="is not a page; name a file"):
            write_report(load_trained(odd_run), out)
    assert not list(tmp_path.iterdir())


def test_a_table_of_somebody_else_is_not_replaced(odd_run, tmp_path):
    table = tmp_path / "predictions-train.csv"
    for content in (b"name,mine\n", b"", b"\xff\xfe"):
        table.write_bytes(content)
        with pytest.raises(
            InputError, match=rf"^{table} is not a report's table and would .* --out=FOLDER/report.html$"
        ):
            write_report(load_trained(odd_run), tmp_path / "x.html", split="train", num_workers=0)
        assert table.read_bytes() == content
        assert len(list(tmp_path.iterdir())) == 1
    table.write_text("name,label,predicted,probability,loss\n")  # of another report
    write_report(load_trained(odd_run), tmp_path / "x.html", split="train", num_workers=0)
    assert table.read_text().count("\n") == 17


def predictions(right, loss):
    right = np.array(right)
    names = tuple(f"{k}" for k in range(len(right)))
    label = np.zeros(len(right), int)
    return Predictions(names, label, np.where(right, 0, 1), np.ones(len(right)), np.array(loss), ("a", "b"))


def test_the_worst_are_wrong_ones_by_loss_and_then_right_ones():
    found = predictions([True, False, True, False], [0.6, 0.8, 0.1, 3.0])
    assert worst(found) == [3, 1, 0, 2]
    assert worst(found, 1) == [3]


def test_random_pictures_are_the_same_ones_again():
    many = predictions([True] * 50, [0.1] * 50)
    assert drawn(many) == drawn(many)
    assert len(set(drawn(many))) == 20
    assert sorted(drawn(predictions([True] * 3, [0.1] * 3))) == [0, 1, 2]


def test_maps_are_computed_as_many_at_once_as_the_evaluation_takes(monkeypatch):
    trained, sizes = toy("resnet8_cifar"), []
    images = np.random.default_rng(0).normal(size=(5, 16, 16, 3)).astype(np.float32)
    classes = np.arange(5)
    expected = gallery.maps_of(trained, images, classes, 5)
    compute = gallery.grad_cam

    def note(model, variables, images, classes):
        sizes.append(len(images))
        return compute(model, variables, images, classes)

    monkeypatch.setattr(gallery, "grad_cam", note)
    np.testing.assert_allclose(gallery.maps_of(trained, images, classes, 2), expected, atol=1e-4)
    assert sizes == [2, 2, 1]

    def exhausted(*_):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(gallery, "grad_cam", exhausted)
    with pytest.raises(InputError, match=r"^the memory does not suffice; take a smaller --batch_size than 2$"):
        gallery.maps_of(trained, images, classes, 2)


def test_a_picture_is_small():
    rng = np.random.default_rng(0)
    content = data_uri(rng.integers(0, 256, (300, 600, 3), dtype=np.uint8)).partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(content))).size == (160, 80)


def test_options_that_differ_are_told_as_on_a_command_line():
    assert changed_options(None) == ()
    told = changed_options(TOY)
    assert "--model=resnet8_cifar" in told
    assert "--steps=4" in told
    assert not [option for option in told if option.startswith("--seed")]


def test_predictions_are_of_one_network_and_not_of_another_with_equal_weights():
    trained = toy("resnet8_cifar")
    source, images = load_source("digits", "val", None, 16), ImageSet("digits", "", "val")
    subjects = [
        subject_of(changed, source, images)
        for changed in (
            trained,
            dataclasses.replace(trained, name="another"),
            dataclasses.replace(trained, model=trained.model.clone(blur_strides=True)),
            dataclasses.replace(trained, model=trained.model.clone(dtype=jnp.bfloat16)),
        )
    ]
    assert all(subject != subjects[0] for subject in subjects[1:])
    assert subject_of(dataclasses.replace(trained), source, images) == subjects[0]
