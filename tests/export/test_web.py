"""The page for browsers: in one, with a real picture, and what happens where its parts cannot be had."""

import functools
import http.server
import time
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from resnet_jax.errors import InputError
from resnet_jax.export.web import RUNTIME, fetch_runtime
from resnet_jax.export.write import export
from resnet_jax.inference.predict import predict
from tests.browser import needs_browser, open_browser
from tests.export.toys import toy
from tests.server import serving

TOY = toy(size=48)
PICTURES = sorted(Path(sklearn.datasets.__file__).with_name("images").glob("*.jpg"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture
def runtime(tmp_path):
    """A folder with the names of onnxruntime-web's files."""
    folder = tmp_path / "package"
    folder.mkdir()
    for name in RUNTIME:
        (folder / name).write_text("not the real one")
    return folder


def shown_classes(browser, picture):
    """Choose a picture in the page; return the classes that it shows, with their probabilities."""
    browser.execute_script("document.getElementById('result').hidden = true")
    browser.find_element("id", "file").send_keys(str(picture))
    for _ in range(300):
        if browser.find_element("id", "result").is_displayed():
            break
        time.sleep(0.1)
    rows = browser.find_elements("css selector", "#classes tr")
    cells = [[row.find_element("css selector", f"td.{name}").text for name in ("name", "p")] for row in rows]
    return [(name, float(p.removesuffix(" %")) / 100) for name, p in cells]


@needs_browser
@pytest.mark.slow
def test_a_browser_finds_what_predict_finds(tmp_path):
    try:
        package = fetch_runtime(tmp_path)
    except InputError as error:
        pytest.skip(str(error))
    export(TOY, tmp_path / "page", "web", onnxruntime_web=package)
    (tmp_path / "notes.txt").write_text("no picture")
    noise = np.random.default_rng(0).integers(0, 256, (2, 20_000, 3), np.uint8)
    strips = [tmp_path / "wide.png", tmp_path / "tall.png"]  # whole, resized, a strip would be 480,000 pixels long
    for path, pixels in zip(strips, (noise, noise.transpose(1, 0, 2)), strict=True):
        Image.fromarray(pixels).save(path)
    Image.new("RGBA", (60, 50), (200, 30, 30, 0)).save(tmp_path / "glass.png")
    handler = functools.partial(Quiet, directory=tmp_path / "page")
    with serving(handler) as address, open_browser(tmp_path / "profile") as browser:
        browser.get(f"{address}/")
        for _ in range(300):
            if "classes" in browser.find_element("id", "about").text:
                break
            time.sleep(0.1)
        assert browser.find_element("id", "about").text == "resnet8_cifar, 10 classes"
        pictures = [*PICTURES, *strips]
        for picture, found in zip(pictures, predict(TOY, pictures), strict=True):
            shown = shown_classes(browser, picture)
            assert [name for name, _ in shown] == [entry["class"] for entry in found["classes"]]
            for (_, probability), entry in zip(shown, found["classes"], strict=True):
                assert abs(probability - entry["probability"]) < 0.02
        shown_classes(browser, tmp_path / "glass.png")
        assert "glass.png: browsers read transparent pixels as black" in browser.find_element("id", "message").text
        browser.find_element("id", "file").send_keys(str(tmp_path / "notes.txt"))
        time.sleep(1)
        assert "notes.txt: cannot be classified" in browser.find_element("id", "message").text


def test_the_page_has_all_that_it_names(tmp_path, runtime):
    written = export(TOY, tmp_path / "page", "web", onnxruntime_web=runtime)
    names = {str(path.relative_to(tmp_path / "page")) for path in (tmp_path / "page").rglob("*") if path.is_file()}
    ours = {"index.html", "classify.js", "network.json", "network.onnx"}
    assert names == ours | {f"onnxruntime/{name}" for name in RUNTIME}
    assert all(path.exists() for path in (written.path, *written.others))


def test_a_folder_without_the_runtime_leaves_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"there is no ort.wasm.min.js in it; it is npm's onnxruntime-web@"):
        export(TOY, tmp_path / "page", "web", onnxruntime_web=tmp_path / "empty")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_an_existing_folder_stays(tmp_path, runtime):
    with pytest.raises(InputError, match="exists; remove it, or name another"):
        export(TOY, runtime, "web", onnxruntime_web=runtime)
    assert {path.name for path in runtime.iterdir()} == set(RUNTIME)


@pytest.mark.parametrize(("script", "message"), [(None, "not installed"), ("echo offline >&2; exit 1", r"\(offline\)")])
def test_where_npm_gives_nothing_the_remedy_is_named(tmp_path, monkeypatch, script, message):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    if script:
        (bin_folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (bin_folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(bin_folder))
    with pytest.raises(InputError, match=message) as refused:
        fetch_runtime(tmp_path)
    assert "--onnxruntime_web=FOLDER" in str(refused.value)
