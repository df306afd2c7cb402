"""The hub, from a server on this machine: what it announces is checked, and what it does not give ends in one line."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler

import pytest

from resnet_jax.weights.pretrained import write_weights
from tests.server import serving

pytest.importorskip("huggingface_hub")
pytest.importorskip("safetensors")
pytestmark = pytest.mark.slow  # a download that stalls is waited for

MODEL = "resnet8_cifar"
CONFIG = {
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
}

REFUSALS = {"busy": 429, "down": 503, "private": 401}  # of the config alone, by owner


@contextlib.contextmanager
def hub(files):
    """A hub; every file is there under each owner's name, which says how the hub behaves.

    Yields its address and the requests for weights that it got, by owner.
    """
    requests = Counter()
    done = threading.Event()

    class Hub(BaseHTTPRequestHandler):
        def answer(self):
            owner, _, name = self.path[1:].partition("/something/resolve/main/")
            requests[owner, self.command] += name == "model.safetensors"
            data = files.get(name)
            is_config = name in ("config.json", "preprocessor_config.json")
            refusal = REFUSALS.get(owner if is_config else "")
            if is_config and owner == "plain":
                data = None
            if data is None or refusal or owner == "unavailable":
                self.send_response(refusal or (503 if data else 404))
                if data is None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return owner, b""
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            return owner, data

        def do_HEAD(self):
            self.answer()

        def do_GET(self):
            owner, data = self.answer()
            if data and owner == "altered":
                data = data[:-1] + bytes([data[-1] ^ 1])
            if owner in ("stalled", "broken"):
                self.wfile.write(data[:1000])
                self.wfile.flush()
                done.wait(60 if owner == "stalled" else 0)
                self.close_connection = True
                return
            self.wfile.write(data)

        def log_message(self, format, *args):
            pass

    with serving(Hub) as address:
        yield address, requests
        done.set()


def load(cache, address, owners):
    """Load each owner's weights in one new process; return what it printed, and what it printed to standard error."""
    code = (
        "import json, resnet_jax\n"
        "from resnet_jax.errors import InputError\n"
        "from resnet_jax.weights.pretrained import open_weights\n"
        f"for owner in {owners}:\n"
        f"    try: print(json.dumps(open_weights('{MODEL}', f'{{owner}}/something').lines))\n"
        "    except InputError as error: print(json.dumps(str(error)))\n"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": address,
        "HF_HOME": str(cache),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DOWNLOAD_TIMEOUT": "1",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(owners, map(json.loads, done.stdout.splitlines()), strict=True)), done.stderr


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, random_variables):
    """(lines with the hub, its requests, lines once it is gone, everything on standard error)."""
    folder = tmp_path_factory.mktemp("hub")
    write_weights(folder / "model.safetensors", MODEL, random_variables(MODEL), layout="torch")
    files = {
        "model.safetensors": (folder / "model.safetensors").read_bytes(),
        "config.json": json.dumps(CONFIG).encode(),
    }
    with hub(files) as (address, requests):
        online, stderr = load(
            folder / "cache", address, ["someone", "altered", "stalled", "broken", "unavailable", "plain", *REFUSALS]
        )
    offline, more = load(folder / "cache", address, ["someone", "altered", "absent", "plain", "busy"])
    return online, requests, offline, stderr + more


def test_the_hubs_config_tells_the_preprocessing(loaded):
    ((line,), *_) = loaded[0].values()
    assert "resized to 248 pixels (bicubic), cropped to 224, mean 0.5 0.5 0.5" in line
    assert line.startswith("someone/something: ")
    assert line.endswith("from the config.json beside the weights")


def test_the_cache_serves_where_there_is_no_network(loaded):
    assert loaded[2]["someone"] == loaded[0]["someone"]


def test_the_preprocessing_is_assumed_where_the_hub_has_no_config(loaded):
    (line,) = loaded[0]["plain"]
    assert line.endswith("from CIFAR-10's usual values (assumed)")
    assert loaded[2]["plain"] == loaded[0]["plain"]  # without a network too: the cache knows that there is none


@pytest.mark.parametrize(
    ("owner", "reason"),
    [("busy", "429"), ("down", "503"), ("private", "401")],
)
def test_the_preprocessing_is_not_assumed_where_the_hub_does_not_answer(loaded, owner, reason):
    line = loaded[0][owner]
    assert line.startswith(f"{owner}/something: config.json: cannot be fetched from the hub (")
    assert reason in line
    assert line.endswith(
        "where there is no network, bring model.safetensors and config.json, if any, from "
        f"https://huggingface.co/{owner}/something, and give the path of the former"
    )
    assert "Connection refused" in loaded[2]["busy"]


def test_an_altered_file_is_refused_and_not_kept(loaded):
    online, _, offline, _ = loaded
    assert online["altered"] == (
        "altered/something: model.safetensors does not have the SHA-256 that the hub announces; fetch it again"
    )
    assert "Connection refused" in offline["altered"]


@pytest.mark.parametrize(
    ("owner", "reason"),
    [
        ("stalled", "the download stalled or broke off 2 times"),
        ("broken", "the download stalled or broke off 2 times"),
        ("unavailable", "Server error '503"),
        ("absent", "Connection refused"),
    ],
)
def test_what_the_hub_does_not_give_ends_in_one_line_after_two_tries(loaded, owner, reason):
    online, requests, offline, stderr = loaded
    line = (online | offline)[owner]
    assert line.startswith(f"{owner}/something: cannot be fetched from the hub (")
    assert reason in line
    assert "\n" not in line
    assert requests[owner, "GET"] == (2 if owner in ("stalled", "broken") else 0)
    assert stderr == ""
