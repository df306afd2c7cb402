"""Damaged manifests, notes and exchanged shards: one line each."""

import json

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.prepared.format import read_manifest
from resnet_jax.data.prepared.write import Encoding, prepare
from resnet_jax.data.sources.prepared import prepared_source
from resnet_jax.errors import InputError

SMALL = Encoding(short_side=16, shard_size=2)


@pytest.fixture
def prepared(tmp_path):
    for k in range(4):
        folder = tmp_path / "data" / "train" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20, 3), 60 * k, np.uint8)).save(folder / f"{k}.png")
    prepare("folder", str(tmp_path / "data"), tmp_path / "out", SMALL, ("train",))
    return tmp_path / "out"


def change(key, value):
    def changed(manifest):
        return manifest | {key: value}

    return changed


def change_shard(key, value):
    def changed(manifest):
        manifest["splits"]["train"]["shards"][0][key] = value
        return manifest

    return changed


def without_shard_key(key):
    def changed(manifest):
        del manifest["splits"]["train"]["shards"][1][key]
        return manifest

    return changed


@pytest.mark.parametrize(
    "changed",
    [
        lambda manifest: [],
        lambda manifest: None,
        lambda manifest: {"format": 1},
        change("class_names", "ab"),
        change("class_names", []),
        change("class_names", [1, 2]),
        change("splits", []),
        change("splits", {"train": []}),
        change("splits", {"train": {"shards": {}}}),
        change("splits", {"train": {"shards": [1]}}),
        change_shard("records", "2"),
        change_shard("records", -1),
        change_shard("bytes", None),
        change_shard("file", 7),
        change_shard("file", "../../etc/passwd"),
        change_shard("file", "/etc/passwd"),
        without_shard_key("file"),
        without_shard_key("records"),
        without_shard_key("sha256"),
    ],
)
def test_a_damaged_manifest_is_one_line(prepared, changed):
    path = prepared / "manifest.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()))))
    for read in (lambda: prepared_source("train", str(prepared)), lambda: read_manifest(prepared)):
        with pytest.raises(
            InputError, match=r"manifest\.json cannot be read, or is damaged \(.*copy it again"
        ) as caught:
            read()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_manifest_that_is_no_json_is_one_line(prepared, text):
    (prepared / "manifest.json").write_bytes(text)
    with pytest.raises(InputError, match=r"manifest\.json cannot be read, or is damaged"):
        prepared_source("train", str(prepared))


def test_exchanged_shards_are_found_on_opening(prepared):
    first, second = sorted((prepared / "train").glob("*.array_record"))
    size = max(first.stat().st_size, second.stat().st_size)
    assert first.stat().st_size == second.stat().st_size == size  # so that sizes tell nothing
    spare = first.with_suffix(".spare")
    first.rename(spare)
    second.rename(first)
    spare.rename(second)
    with pytest.raises(InputError, match=r"00000-of-00002\.array_record is another shard, or damaged"):
        prepared_source("train", str(prepared))


def test_manifests_without_sums_of_ends_are_read(prepared):
    path = prepared / "manifest.json"
    manifest = json.loads(path.read_text())
    for shard in manifest["splits"]["train"]["shards"]:
        del shard["ends"]
    path.write_text(json.dumps(manifest))
    assert len(prepared_source("train", str(prepared))) == 4


def test_a_damaged_note_means_that_the_shard_is_written_again(prepared, tmp_path):
    whole = json.loads((prepared / "manifest.json").read_text())
    (prepared / "manifest.json").unlink()
    shard = next((prepared / "train").glob("*.array_record"))
    shard.with_name(shard.name + ".json").write_text("{")
    settings = {key: value for key, value in whole.items() if key not in ("class_names", "skipped")}
    (prepared / "preparation.json").write_text(json.dumps(settings | {"splits": ["train"]}))
    assert prepare("folder", str(tmp_path / "data"), prepared, SMALL, ("train",)) == whole


def test_damaged_settings_are_one_line(prepared, tmp_path):
    (prepared / "manifest.json").unlink()
    (prepared / "preparation.json").write_text("[1")
    with pytest.raises(InputError, match=r"preparation\.json is damaged .*begin again"):
        prepare("folder", str(tmp_path / "data"), prepared, SMALL, ("train",))


def test_images_of_a_prepared_set_are_known_to_be_whole(prepared):
    assert prepared_source("train", str(prepared)).intact
