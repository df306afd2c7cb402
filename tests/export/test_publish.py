"""Published networks: the folder, its upload to a hub that runs here, and what reads it from there."""

import base64
import json
import os
import subprocess
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import jax
import numpy as np
import pytest

from experiments import publish as command
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.export.facts import public_source, result_of
from resnet_jax.export.model_card import measured, without_folders, write_card
from resnet_jax.export.publish import publish
from resnet_jax.weights.catalog import known_weights
from resnet_jax.weights.pretrained import load_pretrained
from resnet_jax.workdir.sealed import write_sealed
from tests.export.toys import toy
from tests.server import serving

TOY = toy()
REPO = "someone/toy"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    folder, address = publish(TOY, REPO, tmp_path_factory.mktemp("hub") / "toy", license="MIT", dry_run=True)
    assert not address
    return folder


def test_the_folder_has_weights_in_both_layouts_preprocessing_onnx_and_a_card(published):
    names = {path.name for path in published.iterdir()}
    assert names == {
        "README.md",
        "config.json",
        "model.onnx",
        "model.safetensors",
        "preprocessing.json",
        "resnet_jax.safetensors",
    }
    config = json.loads((published / "config.json").read_text())
    assert config["architecture"] == "resnet8_cifar"
    assert config["pretrained_cfg"]["input_size"] == [3, 16, 16]
    assert int(16 / config["pretrained_cfg"]["crop_pct"]) == 18


def test_a_network_without_a_layout_of_pytorchs_is_published_in_ours(tmp_path):
    network = toy("preresnet8_cifar")
    folder, _ = publish(network, REPO, tmp_path / "toy", dry_run=True)
    assert not (folder / "resnet_jax.safetensors").exists()
    assert "`model.safetensors` | weights in this package's layout" in (folder / "README.md").read_text()
    loaded = load_pretrained(network.name, str(folder / "model.safetensors"), num_classes=10)
    jax.tree.map(np.testing.assert_array_equal, loaded, network.variables)


def test_a_network_for_pixels_is_published_with_what_it_sees(tmp_path):
    network = toy("unet_resnet8_cifar", width=8, skips="add", output_stride=2)
    folder, _ = publish(replace(network, facts={"eval_resize": 40}), REPO, tmp_path / "toy", dry_run=True)
    seen = json.loads((folder / "preprocessing.json").read_text())
    assert set(seen) == {"mean", "std", "interpolation", "eval_resize"}
    assert "Images: whole pictures, shorter side 40 pixels (bilinear), values in" in (folder / "README.md").read_text()


def test_the_card_tells_license_classes_and_limits(published):
    card = (published / "README.md").read_text()
    assert "license: mit" in card
    assert "kind 0, kind 1" in card
    assert "model = resnet_jax.create_model('resnet8_cifar', num_classes=10)" in card
    assert f'load_pretrained("resnet8_cifar", "{REPO}", num_classes=10)' in card
    assert "hf-hub" not in card  # timm has no such network
    assert "No evaluation is recorded." in card
    assert "What it must not be used for" in card
    assert "{{" not in card
    assert "{%" not in card


@pytest.mark.parametrize(("repo", "message"), [("toy", "name it USER/NAME"), ("a/b/c", "name it USER/NAME")])
def test_a_name_that_is_none_is_refused(tmp_path, repo, message):
    with pytest.raises(InputError, match=message):
        publish(TOY, repo, tmp_path / "new", dry_run=True)
    assert not list(tmp_path.iterdir())


def test_a_published_accuracy_is_stated_of_the_images_that_it_was_measured_on_alone():
    known = known_weights("timm/resnet50.a1_in1k")
    assert known is not None
    trained = replace(toy("resnet8_cifar"), source=known.name, preprocessing=known.preprocessing)
    assert (measured(trained)["value"], result_of(trained)) == (0.80382, {"published_top1": 0.80382})
    smaller = replace(trained, preprocessing=known.preprocessing.at_size(96, 0))
    assert (measured(smaller)["value"], result_of(smaller)) == (None, {})


def test_an_existing_folder_stays(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(InputError, match="exists; remove it, or name another"):
        publish(TOY, REPO, tmp_path / "mine", dry_run=True)
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_network_that_cannot_be_exported_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("resnet_jax.export.write_onnx.logits_of", lambda network, images: np.zeros((16, 10)))
    with pytest.raises(InputError, match="nothing was kept"):
        publish(TOY, REPO, tmp_path / "new", dry_run=True)
    assert not list(tmp_path.iterdir())


def test_what_is_to_be_private_is_so_by_the_printed_command_too(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "load_named", lambda options: TOY)
    command.main([f"--repo={REPO}", f"--folder={tmp_path / 'toy'}", "--private", "--dry_run"])
    assert f"`hf upload {REPO} {tmp_path / 'toy'} --private` does it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("--init_from=runs/pretrain/base", "--init_from=base"),
        ("--init_from='/home/some body/secret/run'", "--init_from=run"),
        ("--init_from=../base", "--init_from=base"),
        ("--init_from=timm/resnet50.a1_in1k", "--init_from=timm/resnet50.a1_in1k"),
        ("--mean 0.5 0.4 0.3", "--mean 0.5 0.4 0.3"),
        ("--learning_rate=0.1", "--learning_rate=0.1"),
    ],
)
def test_no_folder_of_this_machine_is_on_the_card(option, shown):
    assert without_folders(option) == shown


def test_a_path_of_another_machine_is_not_shown():
    assert public_source(replace(TOY, source="/home/somebody/secret/net.safetensors")) == "net.safetensors"


@pytest.fixture
def hub():
    """A hub that takes uploads and gives them back: its address, and what it holds."""
    files: dict[str, bytes] = {}

    class Hub(BaseHTTPRequestHandler):
        @property
        def address(self):
            return f"http://{self.headers['Host']}"

        def reply(self, data, status=200, **headers):
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.headers.get("Authorization") != "Bearer hf_right":
                self.reply(b'{"error": "Invalid credentials"}', 401)
            elif "/commit/" in self.path:
                for line in body.splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                self.reply(json.dumps({"commitUrl": f"{self.address}/{REPO}/commit/1", "commitOid": "1" * 40}).encode())
            elif "/preupload/" in self.path:
                modes = [
                    {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for f in json.loads(body)["files"]
                ]
                self.reply(json.dumps({"files": modes}).encode())
            else:
                self.reply(json.dumps({"url": f"{self.address}/{REPO}", "name": REPO, "warnings": []}).encode())

        def do_GET(self):
            name = self.path.partition("/resolve/main/")[2]
            if "/api/models/" in self.path:
                self.reply(b'{"id": "someone/toy", "private": false}')
            elif name in files:
                self.reply(files[name], ETag='"e"', X_Repo_Commit="1" * 40)
            else:
                self.reply(b"{}", 404, X_Error_Code="EntryNotFound")

        do_HEAD = do_GET

        def log_message(self, format, *args):
            pass

    with serving(Hub) as address:
        yield address, files


PRIVATE = """
import sys
from pathlib import Path
from resnet_jax.errors import InputError
from resnet_jax.weights.hub import upload
try:
    upload("someone/toy", Path(sys.argv[1]), private=True)
except InputError as error:
    sys.exit(str(error))
"""
PROGRAM = """
import sys
import numpy as np
from pathlib import Path
from resnet_jax.errors import InputError
from resnet_jax.weights.hub import upload
from resnet_jax import load_pretrained
try:
    print(upload("someone/toy", Path(sys.argv[1])))
except InputError as error:
    sys.exit(str(error))
np.save(sys.argv[2], load_pretrained("resnet8_cifar", "someone/toy", num_classes=10)["params"]["head"]["kernel"])
"""


def run(published, address, token, out, program=PROGRAM):
    variables = {"HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HOME": str(out.parent / "cache")}
    quiet = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", program, published, out]
    return subprocess.run(command, env=os.environ | variables | quiet, capture_output=True, text=True)


@pytest.mark.slow
def test_what_was_uploaded_is_loaded_by_its_name(published, hub, tmp_path):
    address, files = hub
    ended = run(published, address, "hf_right", tmp_path / "kernel.npy")
    assert ended.returncode == 0, ended.stderr
    assert "/commit/1" in ended.stdout
    assert set(files) == {path.name for path in published.iterdir()}
    np.testing.assert_array_equal(np.load(tmp_path / "kernel.npy"), TOY.variables["params"]["head"]["kernel"])


@pytest.mark.slow
def test_an_upload_that_is_refused_names_the_remedy_in_one_line(published, hub, tmp_path):
    ended = run(published, hub[0], "hf_wrong", tmp_path / "kernel.npy")
    assert ended.returncode == 1
    assert "the hub did not take the upload" in ended.stderr
    assert "hf auth login" in ended.stderr
    assert ended.stderr.strip().count("\n") == 0


@pytest.mark.slow
def test_what_is_to_be_private_goes_to_no_public_repository(published, hub, tmp_path):
    address, files = hub
    ended = run(published, address, "hf_right", tmp_path / "kernel.npy", PRIVATE)
    assert "someone/toy exists and is public; nothing was uploaded" in ended.stderr
    assert not files


def test_a_private_path_does_not_leave_the_machine(tmp_path):
    run_config = Config(init_from="/home/somebody/secret/run", data_dir="/home/somebody/pictures", epochs=3.0)
    trained = replace(TOY, run=run_config, source=str(tmp_path), facts={"num_train": 5})
    write_card(trained, REPO, "", {}, False, tmp_path / "README.md")
    card = (tmp_path / "README.md").read_text()
    assert "somebody" not in card
    assert "--init_from=run" in card
    assert "--epochs=3.0" in card


def test_the_result_is_of_the_weights_that_were_evaluated(tmp_path):
    write_sealed(tmp_path / "result.json", {"top1": 0.9, "num_examples": 200})
    trained = replace(TOY, run=Config(), source=str(tmp_path))
    assert measured(trained)["value"] is None
    found = measured(replace(trained, as_evaluated=True))
    assert (found["value"], found["count"]) == (0.9, 200)
    assert found["low"] < 0.9 < found["high"]
