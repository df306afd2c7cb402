"""JSON files that notice when they are altered."""

import json
import os

import pytest

from resnet_jax.errors import InputError
from resnet_jax.workdir.sealed import read_sealed, seal, write_sealed

RECORD = {"config": {"image_size": 8, "crop_scale": (0.08, 1.0)}, "versions": {"jax": "0.10.2"}, "top1": 0.1 + 0.2}


def test_a_record_comes_back(tmp_path):
    path = tmp_path / "config.json"
    write_sealed(path, RECORD)
    assert read_sealed(path, "") == json.loads(json.dumps(RECORD))
    assert seal(RECORD)["digest"] == json.loads(path.read_text())["digest"]


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "config.json"
    write_sealed(path, RECORD)
    whole = path.read_bytes()
    expected = json.loads(json.dumps(RECORD))
    lines = []
    for at in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        try:
            record = read_sealed(path, "restore it")
        except InputError as error:
            lines.append(str(error))
            continue
        # White space: the value is what it was.
        assert record == expected
    assert len(lines) > 0.8 * 8 * len(whole)
    assert not [line for line in lines if "\n" in line]


@pytest.mark.parametrize("share", [0, 0.3, 0.9])
def test_a_cut_file_is_one_line(tmp_path, share):
    path = tmp_path / "result.json"
    write_sealed(path, RECORD)
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(InputError, match=r"result.json is damaged .*; restore it"):
        read_sealed(path, "restore it")


def test_a_file_without_a_digest_is_read_as_it_is(tmp_path):
    (tmp_path / "old.json").write_text(json.dumps(RECORD))
    assert read_sealed(tmp_path / "old.json", "")["top1"] == RECORD["top1"]


def test_a_folder_that_is_gone_is_one_line(tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        write_sealed(tmp_path / "gone" / "result.json", RECORD)
