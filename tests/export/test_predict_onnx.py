"""The script that predicts from an ONNX file alone, against our own predictions."""

import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.export import predict_onnx
from resnet_jax.export.predict_onnx import RefusedFile, open_network, read_image
from resnet_jax.export.write import export
from resnet_jax.inference.predict import predict, read_images
from tests.export.toys import toy

TOY = toy()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """An exported toy, and pictures of unusual sizes and kinds."""
    folder = tmp_path_factory.mktemp("exported")
    export(TOY, folder / "net.onnx")
    export(TOY, folder / "inside.onnx", with_preprocessing=True)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 61, 3), np.uint8)
    picture = Image.fromarray(np.kron(pixels, np.ones((3, 3, 1), np.uint8)))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    picture.convert("L").save(folder / "gray.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("P").save(folder / "palette.png")
    picture.convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(rng.integers(0, 65536, (30, 20), np.uint16)).save(folder / "sixteen.png")
    picture.resize((200, 15)).save(folder / "wide.bmp")
    picture.resize((7, 90)).save(folder / "tall.png")
    return folder


PICTURES = ["turned.jpg", "gray.png", "cmyk.jpg", "palette.png", "alpha.png", "sixteen.png", "wide.bmp", "tall.png"]


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("sizes", [(16, 18), (24, 20), (17, 33)])
def test_pictures_are_read_as_ours_are(files, name, sizes):
    preprocessing = Preprocessing(*sizes, interpolation="bicubic" if sizes[0] == 17 else "bilinear")
    facts = {"image_size": sizes[0], "resize": sizes[1], "interpolation": preprocessing.interpolation}
    np.testing.assert_array_equal(read_image(files / name, facts), read_images([files / name], preprocessing)[0])


@pytest.mark.parametrize("shape", [(2, 30_000), (30_000, 2), (1, 400)])
def test_strips_are_read_in_part_as_ours_are(tmp_path, shape):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)).save(tmp_path / "strip.png")
    for preprocessing in (Preprocessing(16, 18), Preprocessing(224, 256, interpolation="bicubic")):
        facts = {"image_size": preprocessing.image_size, "resize": preprocessing.resize}
        found = read_image(tmp_path / "strip.png", facts | {"interpolation": preprocessing.interpolation})
        np.testing.assert_array_equal(found, read_images([tmp_path / "strip.png"], preprocessing)[0])


@pytest.mark.parametrize("network", ["net.onnx", "inside.onnx"])
def test_predictions_are_ours(files, network):
    pictures = [files / name for name in PICTURES]
    for ours, theirs in zip(predict(TOY, pictures), predict_onnx.predict(files / network, pictures), strict=True):
        assert [entry["class"] for entry in ours["classes"]] == [entry["class"] for entry in theirs["classes"]]
        for a, b in zip(ours["classes"], theirs["classes"], strict=True):
            assert abs(a["probability"] - b["probability"]) < 1e-5


def test_the_script_runs_alone_in_another_folder(files, tmp_path):
    shutil.copy(predict_onnx.__file__, tmp_path)
    command = [sys.executable, "-I", "predict_onnx.py", files / "net.onnx", files / "gray.png"]
    shown = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    (ours,) = predict(TOY, [files / "gray.png"])
    best = ours["classes"][0]
    assert shown.splitlines()[:2] == [str(files / "gray.png"), f"  {best['probability']:7.2%}  {best['class']}"]


def test_files_that_are_none_are_refused_in_one_line(files, tmp_path):
    content = (files / "net.onnx").read_bytes()
    other = onnx.load(files / "net.onnx")
    del other.metadata_props[:]
    cases = {
        "cut": (content[: len(content) // 2], "no ONNX file, or a damaged one"),
        "empty": (b"", "no ONNX file, or a damaged one"),
        "text": (b"no network at all", "no ONNX file, or a damaged one"),
        "foreign": (other.SerializeToString(), "does not tell image_size, resize, mean, std, interpolation"),
    }
    for name, (data, message) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(RefusedFile, match=message) as refused:
            open_network(tmp_path / name)
        assert "\n" not in str(refused.value)
    with pytest.raises(RefusedFile, match="there is no such file"):
        open_network(tmp_path / "missing.onnx")


def test_pictures_that_are_none_are_refused(files, tmp_path):
    (tmp_path / "page.jpg").write_text("<html>")
    facts = {"image_size": 16, "resize": 18, "interpolation": "bilinear"}
    with pytest.raises(RefusedFile, match=r"page.jpg: not an image that Pillow reads"):
        read_image(tmp_path / "page.jpg", facts)
    with pytest.raises(RefusedFile, match="No such file"):
        read_image(tmp_path / "missing.jpg", facts)
    Image.new("1", (10_000, 9_000)).save(tmp_path / "large.png")
    with pytest.raises(RefusedFile, match=r"large.png: 10000 x 9000 pixels are too many to decode"):
        read_image(tmp_path / "large.png", facts)
