"""Weights from files, the hub and runs: what fits is loaded bit for bit, what does not is refused with its reason."""

import json
import os
import subprocess
import sys
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import jax
import numpy as np
import pytest

import resnet_jax
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.weights import hub
from resnet_jax.weights.formats import read_file, write_tensors
from resnet_jax.weights.layout import OURS, to_tensors
from resnet_jax.weights.pretrained import load_pretrained, open_weights, write_weights
from resnet_jax.weights.rules import rules_for
from resnet_jax.weights.torch_layout import to_torch
from tests.server import serving
from tests.weights.reading import read_tensors

from .conftest import assert_equal_trees

pytest.importorskip("safetensors")

MODEL = "resnet8_cifar"


@pytest.fixture
def variables(random_variables):
    return random_variables(MODEL)


@pytest.mark.parametrize("layout", ["ours", "torch"])
@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_the_round_trip_keeps_every_bit(tmp_path, variables, layout, ending):
    path = tmp_path / f"x.{ending}"
    write_weights(path, MODEL, variables, layout=layout)
    assert_equal_trees(load_pretrained(MODEL, path), variables)
    assert ("linear.weight" in read_tensors(path)) == (layout == "torch")


def test_the_public_name_loads_what_the_network_takes(tmp_path, variables):
    write_weights(tmp_path / "x.npz", MODEL, variables)
    loaded = resnet_jax.load_pretrained(MODEL, str(tmp_path / "x.npz"))
    logits: Any = resnet_jax.create_model(MODEL).apply(loaded, np.zeros((2, 32, 32, 3), np.float32))
    assert logits.shape == (2, 10)


def test_neither_torch_nor_the_hub_is_imported_for_a_safetensors_file(tmp_path, variables):
    write_weights(tmp_path / "x.safetensors", MODEL, variables, layout="torch")
    code = (
        f"import sys, resnet_jax; resnet_jax.load_pretrained('{MODEL}', '{tmp_path}/x.safetensors'); "
        "assert not {'torch', 'huggingface_hub', 'tensorflow_datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_file_of_ours_describes_itself(tmp_path, variables):
    path = tmp_path / "x.safetensors"
    seen = Preprocessing(40, 48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")
    write_weights(path, MODEL, variables, source="elsewhere", preprocessing=seen, class_names=list("abcdefghij"))
    weights = open_weights(MODEL, path)
    assert weights.source == "elsewhere"
    assert weights.preprocessing == seen
    assert weights.class_names == tuple("abcdefghij")
    assert read_file(path).facts["model"] == MODEL


@pytest.mark.parametrize("text", ["{", "[1]", '{"color": 3}', '"x"'])
def test_a_description_that_makes_no_sense_is_refused(tmp_path, variables, text):
    write_tensors(tmp_path / "x.safetensors", to_tensors(variables, OURS), {"model": MODEL, "preprocessing": text})
    with pytest.raises(InputError, match=r"x\.safetensors: its description cannot be read"):
        load_pretrained(MODEL, tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "text", ['{"stage_sizes": [3, 4]}', '{"num_classes": 10}', '{"dtype": "x"}', '[["width", null]]']
)
def test_options_that_a_description_cannot_have_are_refused(tmp_path, variables, text):
    write_tensors(tmp_path / "x.safetensors", to_tensors(variables, OURS), {"model": MODEL, "options": text})
    with pytest.raises(InputError, match=r"x\.safetensors: its description cannot be read \(options "):
        load_pretrained(MODEL, tmp_path / "x.safetensors")


@pytest.mark.parametrize(("name", "option"), [("googlenet", "aux_heads"), ("fcn_resnet18", "aux_head")])
def test_a_file_without_auxiliary_heads_is_of_the_whole_network(tmp_path, random_variables, name, option):
    """torchvision writes one with aux_logits=False or aux_loss=False."""
    drawn = random_variables(name)
    rest = {
        kind: {top: tree for top, tree in leaves.items() if not top.startswith("aux")} for kind, leaves in drawn.items()
    }
    # The state dict names no option: that is what the missing tensors tell.
    tensors = to_torch(rest, rules_for(name))
    assert len(tensors) < len(to_torch(drawn, rules_for(name)))
    write_tensors(tmp_path / "x.safetensors", tensors, {"format": "pt"})
    weights = open_weights(name, tmp_path / "x.safetensors")
    assert weights.options == {option: False}
    assert weights.notes[-1].endswith("x.safetensors: holds no auxiliary heads; only training needs them")
    assert_equal_trees(load_pretrained(name, tmp_path / "x.safetensors"), rest)


def test_weights_of_the_encoder_alone_say_nothing_about_auxiliary_heads(tmp_path, random_variables):
    write_weights(tmp_path / "x.npz", "resnet8_cifar", random_variables("resnet8_cifar"))
    assert open_weights("fcn_resnet8_cifar", tmp_path / "x.npz").notes == ()


class TestAnotherNetwork:
    def test_is_refused_with_a_list(self, tmp_path, random_variables):
        write_weights(tmp_path / "x.npz", "resnet14_cifar", random_variables("resnet14_cifar"), layout="torch")
        with pytest.raises(InputError, match=r"x\.npz does not fit resnet8_cifar: 30 unknown: .* and 25 more"):
            load_pretrained(MODEL, tmp_path / "x.npz")

    def test_is_refused_by_name_where_every_shape_would_fit(self, tmp_path, variables):
        write_weights(tmp_path / "x.safetensors", MODEL, variables)
        with pytest.raises(InputError, match="holds weights of resnet8_cifar, not of plain8_cifar"):
            load_pretrained("plain8_cifar", tmp_path / "x.safetensors")

    def test_is_refused_before_anything_is_fetched(self, monkeypatch):
        monkeypatch.setattr(hub, "download", lambda hub_id: pytest.fail("fetched"))
        with pytest.raises(InputError, match="holds weights of resnet50, not of resnet50_v1"):
            load_pretrained("resnet50_v1", "timm/resnet50.tv_in1k")


class TestHead:
    @pytest.fixture
    def path(self, tmp_path, variables):
        write_weights(tmp_path / "x.npz", MODEL, variables, layout="torch")
        return tmp_path / "x.npz"

    def test_of_another_width_is_an_error(self, tmp_path, random_variables):
        write_weights(tmp_path / "x.npz", MODEL, random_variables(MODEL, num_classes=100), layout="torch")
        with pytest.raises(InputError, match=r"weight \[100, 64\] where the network has \[10, 64\].*num_classes=K"):
            load_pretrained(MODEL, tmp_path / "x.npz")
        assert load_pretrained(MODEL, tmp_path / "x.npz", num_classes=100)["params"]["head"]["bias"].shape == (100,)

    def test_is_kept_where_it_fits(self, path, variables):
        assert_equal_trees(load_pretrained(MODEL, path, num_classes=10), variables)

    def test_is_made_anew_where_it_does_not_and_nothing_else_is(self, path, variables):
        loaded = load_pretrained(MODEL, path, num_classes=3, seed=5)
        model = resnet_jax.create_model(MODEL, num_classes=3)
        fresh = jax.jit(model.init)(jax.random.key(5), np.zeros((1, 32, 32, 3), np.float32))
        # Compiled apart from the rest, the generator's last bit may differ.
        head = loaded["params"].pop("head")
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), head, fresh["params"]["head"])
        del variables["params"]["head"]
        assert_equal_trees(loaded, variables)

    def test_can_be_left_out(self, path, variables):
        loaded = load_pretrained(MODEL, path, num_classes=0)
        del variables["params"]["head"]
        assert_equal_trees(loaded, variables)

    def test_a_wrong_trunk_stays_an_error(self, tmp_path, random_variables):
        write_weights(tmp_path / "x.npz", MODEL, random_variables("resnet14_cifar"), layout="torch")
        with pytest.raises(InputError, match="30 unknown"):
            load_pretrained(MODEL, tmp_path / "x.npz", num_classes=3)


class TestHub:
    def test_the_default_is_the_networks_own(self, monkeypatch):
        asked = []

        def download(hub_id):
            asked.append(hub_id)
            raise InputError("no network")

        monkeypatch.setattr(hub, "download", download)
        with pytest.raises(InputError, match="no network"):
            load_pretrained("resnet50")
        assert asked == ["timm/resnet50.tv_in1k"]
        with pytest.raises(InputError, match="resnet8_cifar has no default weights; name a file or a hub id"):
            load_pretrained(MODEL)

    def test_a_missing_file_is_no_hub_id(self, monkeypatch):
        monkeypatch.setattr(hub, "download", lambda hub_id: pytest.fail("fetched"))
        with pytest.raises(InputError, match=r"weights/x\.pth: No such file"):
            load_pretrained(MODEL, "weights/x.pth")

    def test_without_the_extra_it_says_which_one(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        with pytest.raises(InputError, match=r"pip install 'residual-jax\[pretrained\]'"):
            hub.download("someone/something")

    def test_weights_are_fetched_and_an_absent_set_is_an_error(self, tmp_path, variables):
        pytest.importorskip("huggingface_hub")
        write_weights(tmp_path / "model.safetensors", MODEL, variables, layout="torch")
        served = (tmp_path / "model.safetensors").read_bytes()

        class Hub(BaseHTTPRequestHandler):
            """Answers as the hub does, for one set of weights."""

            def do_HEAD(self):
                there = self.path == "/someone/something/resolve/main/model.safetensors"
                self.send_response(200 if there else 404)
                if there:
                    self.send_header("ETag", '"1"')
                    self.send_header("X-Repo-Commit", "0" * 40)
                else:
                    self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", str(len(served) if there else 0))
                self.end_headers()

            def do_GET(self):
                self.do_HEAD()
                self.wfile.write(served)

            def log_message(self, format, *args):
                pass

        code = (
            "import json, resnet_jax\n"
            "from resnet_jax.errors import InputError\n"
            f"variables = resnet_jax.load_pretrained('{MODEL}', 'someone/something')\n"
            "try: resnet_jax.load_pretrained('resnet8_cifar', 'someone/absent')\n"
            "except InputError as error: message = str(error)\n"
            "print(json.dumps([float(variables['params']['head']['bias'][3]), message]))"
        )
        with serving(Hub) as address:
            environment = {
                **os.environ,
                "HF_ENDPOINT": address,
                "HF_HOME": str(tmp_path / "cache"),
                "HF_HUB_DISABLE_XET": "1",
                "NO_PROXY": "127.0.0.1",
            }
            done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        value, message = json.loads(done.stdout.splitlines()[-1])
        assert value == float(variables["params"]["head"]["bias"][3])
        assert message.startswith("someone/absent: cannot be fetched from the hub (")
