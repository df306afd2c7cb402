"""A set is prepared once: whole or going on where it was stopped, and read back as what it was made of."""

import errno
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from array_record.python import array_record_module
from PIL import Image

from experiments import imagenet
from experiments import prepare as command
from resnet_jax.cli import run_command
from resnet_jax.data.augment.resize import resize_short_side
from resnet_jax.data.decode import UnreadableImage, decode_image
from resnet_jax.data.prepared import shards as writing
from resnet_jax.data.prepared import write as module
from resnet_jax.data.prepared.format import pack, unpack
from resnet_jax.data.prepared.write import Encoding, prepare
from resnet_jax.data.sources.folder import folder_source
from resnet_jax.data.sources.load import load_source
from resnet_jax.errors import InputError
from resnet_jax.files.lock import LOCK, lock_folder

SMALL = Encoding(short_side=24, shard_size=4)


@pytest.fixture
def photographs(tmp_path):
    """ROOT/train/{a,b}/0.png … 4.png and ROOT/val/{a,b}/0.png, 48 x 36 pixels."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 1)):
        for name in "ab":
            folder = tmp_path / "photographs" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                noise = Image.fromarray(rng.integers(0, 256, (4, 3, 3), np.uint8))
                noise.resize((36, 48), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return tmp_path / "photographs"


def status_of(*argv):
    with pytest.raises(SystemExit) as left:
        run_command(command.main, argv)
    return left.value.code


def pixels_of(example):
    return decode_image(example.image, example.name)


def files_of(folder):
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LOCK)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_record_holds_image_label_and_name():
    assert unpack(pack(b"\xff\xd8image", 999, "train/ä/1.jpg")) == (b"\xff\xd8image", 999, "train/ä/1.jpg")
    assert unpack(pack(b"", 0, "x" * 2000)) == (b"", 0, "x" * 1000)


def test_a_prepared_set_is_its_original_in_small(photographs, tmp_path):
    out = tmp_path / "out"
    manifest = prepare("folder", str(photographs), out, SMALL)
    assert set(files_of(out)) == {
        "manifest.json",
        *(f"train/0000{k}-of-00003.array_record" for k in range(3)),
        "val/00000-of-00001.array_record",
    }
    assert [shard["records"] for shard in manifest["splits"]["train"]["shards"]] == [4, 4, 2]
    for split in ("train", "val"):
        original, source = (load_source(n, split, str(d), 0) for n, d in (("folder", photographs), ("prepared", out)))
        assert source.class_names == original.class_names == ("a", "b")
        assert len(source) == len(original)
        for index in range(len(original)):
            example, expected = source[index], original[index]
            assert example.label == expected.label
            assert expected.name in example.name
            pixels = pixels_of(example).astype(int)
            small = resize_short_side(pixels_of(expected), 24)
            assert pixels.shape == small.shape == (32, 24, 3)
            assert np.abs(pixels - small).mean() < 6  # what JPEG takes
        assert pickle.loads(pickle.dumps(source))[0] == source[0]


def test_small_jpegs_keep_their_bytes_and_other_small_images_their_size(photographs):
    encoding = Encoding(short_side=36)
    png = (photographs / "val" / "a" / "0.png").read_bytes()
    jpeg = encoding(png, "x")
    assert decode_image(jpeg, "x").shape == (48, 36, 3)
    assert encoding(jpeg, "x") == jpeg
    assert decode_image(SMALL(jpeg, "x"), "x").shape == (32, 24, 3)


def test_what_was_killed_goes_on_and_ends_the_same(photographs, tmp_path, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    prepare("folder", str(photographs), whole, SMALL)
    written = []

    def stop_at_the_third(out, file, chunks, progress):
        if len(written) == 2:
            (out / f"{file}.tmp").write_bytes(b"half a shard")
            raise KeyboardInterrupt
        written.append(file)
        write_shard(out, file, chunks, progress)

    write_shard = writing.write_shard
    with monkeypatch.context() as patched:
        patched.setattr(writing, "write_shard", stop_at_the_third)
        with pytest.raises(KeyboardInterrupt):
            prepare("folder", str(photographs), killed, SMALL)
    assert written == ["val/00000-of-00001.array_record", "train/00000-of-00003.array_record"]
    with pytest.raises(InputError, match=r"manifest\.json is missing: no prepared set, or an unfinished one"):
        load_source("prepared", "train", str(killed), 0)
    kept = [(killed / file).stat().st_mtime_ns for file in written]
    assert list(prepare("folder", str(photographs), killed, SMALL)["splits"]) == ["train", "val"]
    assert [(killed / file).stat().st_mtime_ns for file in written] == kept
    assert files_of(killed) == files_of(whole)


def test_a_finished_set_is_left_alone_and_another_one_refused(photographs, tmp_path):
    out = tmp_path / "out"
    first = prepare("folder", str(photographs), out, SMALL)
    before = files_of(out)
    assert prepare("folder", str(photographs), out, SMALL) == first
    assert files_of(out) == before
    with pytest.raises(InputError, match="holds a set with short_side=24, not 32; take another folder"):
        prepare("folder", str(photographs), out, Encoding(short_side=32, shard_size=4))
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else; take an empty folder"):
        prepare("folder", str(photographs), other, SMALL)
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_a_set_of_other_data_is_refused_finished_or_not(photographs, tmp_path, monkeypatch):
    out, begun, moved = tmp_path / "out", tmp_path / "begun", tmp_path / "moved"
    prepare("folder", str(photographs), out, SMALL)
    with monkeypatch.context() as patched:
        patched.setattr(module, "write_split", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare("folder", str(photographs), begun, SMALL)
    photographs.rename(moved)
    prepare("folder", str(moved), out, SMALL)  # the same data in another place
    (moved / "train" / "a" / "4.png").rename(moved / "train" / "a" / "5.png")
    for folder in (out, begun):
        with pytest.raises(InputError, match=r"holds a set of other data, sha256:.*; take another folder"):
            prepare("folder", str(moved), folder, SMALL)
    (moved / "train" / "a" / "5.png").unlink()
    with pytest.raises(InputError, match="holds a set with train_images=10, not 9; take another folder"):
        prepare("folder", str(moved), out, SMALL)


def test_a_csv_file_with_other_labels_is_other_data(photographs, tmp_path):
    names = sorted(path.relative_to(photographs) for path in photographs.glob("train/*/*.*"))
    lines = [f"{name},{name.parent.name},{('train', 'val')[k % 2]}" for k, name in enumerate(names)]
    table = photographs / "set.csv"
    table.write_text("\n".join(["path,label,split", *lines]))
    prepare("folder", str(table), tmp_path / "out", SMALL)
    prepare("folder", str(table), tmp_path / "out", SMALL)
    *others, last = [line for line in lines if ",a," in line]
    assert others
    table.write_text("\n".join(["path,label,split", *lines]).replace(last, last.replace(",a,", ",b,")))
    with pytest.raises(InputError, match=r"holds a set of other data"):
        prepare("folder", str(table), tmp_path / "out", SMALL)


def interrupted(*args):
    raise KeyboardInterrupt


def test_other_sets_are_told_apart_by_where_they_are(photographs, tmp_path):
    prepare("folder", str(photographs), tmp_path / "once", SMALL)
    shutil.copytree(tmp_path / "once", tmp_path / "copy")
    prepare("prepared", str(tmp_path / "once"), tmp_path / "twice", SMALL)
    prepare("prepared", str(tmp_path / "copy" / ".." / "once"), tmp_path / "twice", SMALL)
    with pytest.raises(InputError, match=r"holds a set of other data, .*once, not .*copy; take another folder"):
        prepare("prepared", str(tmp_path / "copy"), tmp_path / "twice", SMALL)


def test_two_cannot_prepare_in_one_folder(photographs, tmp_path):
    out = tmp_path / "out"
    with lock_folder(out, "--out", "is preparing a set in it"):
        with pytest.raises(InputError, match=f"--out={out}: process {os.getpid()} on .* is preparing a set in it; "):
            prepare("folder", str(photographs), out, SMALL)
        assert [path.name for path in out.iterdir()] == [LOCK]
    prepare("folder", str(photographs), out, SMALL)


def test_damage_is_found_by_its_size_when_read_and_by_its_sum_when_checked(photographs, tmp_path, capsys):
    out = tmp_path / "out"
    assert status_of(f"--data_dir={photographs}", f"--out={out}", "--shard_size=4", "--num_workers=0") == 0
    assert status_of("--check", f"--out={out}") == 0
    assert status_of("--check", f"--out={out}", "--quality=80") == 2
    assert "4 shards are as they were written" in capsys.readouterr().out
    shard = out / "train" / "00001-of-00003.array_record"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert status_of("--check", f"--out={out}") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "1 of 4 shards are missing or damaged: train/00001-of-00003.array_record; copy them again" in line
    shard.write_bytes(data[:-1])
    with pytest.raises(InputError, match=r"00001-of-00003\.array_record has \d+ bytes instead of"):
        load_source("prepared", "train", str(out), 0)
    shard.unlink()
    with pytest.raises(InputError, match=r"00001-of-00003\.array_record is missing"):
        load_source("prepared", "train", str(out), 0)


READ_ALL = """
import resource, sys
from resnet_jax.data.sources.load import load_source
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[2])))
source = load_source("prepared", "train", sys.argv[1], 0)
print(sum(bool(source[number].image) for number in range(len(source))))
"""


@pytest.mark.parametrize(
    ("hard", "says"), [(200, "100\n"), (100, r"InputError: \S+ train has 100 shards, .* 100 files .*ulimit -n 164")]
)
def test_a_set_of_more_shards_than_open_files_is_read_or_refused_when_it_is_opened(tmp_path, hard, says):
    picture = Image.new("RGB", (6, 5))
    for name, count in (("train/a", 50), ("train/b", 50), ("val/a", 1), ("val/b", 1)):
        (tmp_path / "many" / name).mkdir(parents=True)
        for number in range(count):
            picture.save(tmp_path / "many" / name / f"{number}.png")
    prepare("folder", str(tmp_path / "many"), tmp_path / "out", Encoding(shard_size=1))
    command = [sys.executable, "-c", READ_ALL, str(tmp_path / "out"), str(hard)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert re.search(says, done.stdout + done.stderr)


def test_the_check_names_all_that_is_damaged(photographs, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare("folder", str(photographs), out, SMALL)
    (out / "train" / "00000-of-00003.array_record").unlink()
    for number, part in ((1, b""), (2, b"sum")):  # a wrong size, a wrong sum
        path = out / "train" / f"0000{number}-of-00003.array_record"
        path.write_bytes(part + path.read_bytes()[3:])
    monkeypatch.setattr(command, "NAMED", 2)
    names = r"train/00000-of-00003\.array_record, train/00001-of-00003\.array_record and 1 more; copy"
    with pytest.raises(InputError, match=f"3 of 4 shards are missing or damaged: {names}"):
        command.check(out)


def test_unreadable_training_images_are_left_out_and_listed(photographs, tmp_path):
    (photographs / "train" / "a" / "1.png").write_bytes(b"")
    manifest = prepare("folder", str(photographs), tmp_path / "out", SMALL)
    assert [line.split(": ")[0] for line in manifest["skipped"]] == [str(photographs / "train" / "a" / "1.png")]
    source = load_source("prepared", "train", str(tmp_path / "out"), 0)
    assert len(source) == 9
    assert [source[i].label for i in range(9)] == [0] * 4 + [1] * 5


def test_too_many_unreadable_ones_or_one_to_evaluate_on_are_refused(photographs, tmp_path, monkeypatch):
    to_evaluate_on = photographs / "val" / "a" / "0.png"
    whole = to_evaluate_on.read_bytes()
    to_evaluate_on.write_bytes(b"")
    says = r"^\S*val/a/0\.png: empty, 0 bytes; restore the file; replace it under the same name, .* needs a new folder"
    with pytest.raises(InputError, match=says):
        prepare("folder", str(photographs), tmp_path / "out", SMALL)
    assert not (tmp_path / "out" / "train").exists()  # it is found before the long work
    to_evaluate_on.write_bytes(whole)
    prepare("folder", str(photographs), tmp_path / "out", SMALL)
    monkeypatch.setattr(writing, "MAX_UNREADABLE", 1)
    for number in range(2):
        (photographs / "train" / "a" / f"{number}.png").write_bytes(b"")
    with pytest.raises(InputError, match="2 unreadable images in one shard, the last: "):
        prepare("folder", str(photographs), tmp_path / "two", SMALL)
    monkeypatch.setattr(writing, "MAX_UNREADABLE", 20)
    for file in (photographs / "train" / "a").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"no image of train/00000-of-00003.* can be read"):
        prepare("folder", str(photographs), tmp_path / "none", SMALL)


class FailingWriter:
    """array_record's writer where one of its methods fails, in the words that it has for writing to /dev/full."""

    def __init__(self, path, options, method, why):
        self.method, self.text = method, f"write() failed: {why}; writing {path}; at byte 0\nSource Location Trace"

    def fail(self, method):
        if method == self.method:
            raise RuntimeError(self.text)

    def write(self, record):
        self.fail("write")

    def close(self):
        self.fail("close")


@pytest.mark.parametrize("method", ["write", "close"])
@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "; make room, then the same command continues"), (errno.EDQUOT, "; make room"), (errno.EIO, "$")],
)
def test_a_shard_that_cannot_be_written_is_one_line(method, code, remedy, photographs, tmp_path, monkeypatch):
    writer = partial(FailingWriter, method=method, why=os.strerror(code))
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(array_record_module, "ArrayRecordWriter", writer)
        with pytest.raises(InputError, match=rf"cannot write to {out}: .*{os.strerror(code)}; .* byte 0{remedy}"):
            prepare("folder", str(photographs), out, SMALL)
    assert not list(out.rglob("*.array_record"))
    prepare("folder", str(photographs), out, SMALL)


@pytest.mark.parametrize(("code", "remedy"), [(errno.ENOSPC, "; make room"), (errno.EACCES, "$")])
def test_room_is_asked_for_only_where_there_is_none(code, remedy, photographs, tmp_path, monkeypatch):
    def failing(path, text):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(module, "write_atomically", failing)
    with pytest.raises(InputError, match=f"{os.strerror(code)}{remedy}"):
        prepare("folder", str(photographs), tmp_path / "out", SMALL)


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("--short_side=8", "--short_side=8 must be 16 to 4096"),
        ("--quality=101", "--quality=101 must be 1 to 100"),
        ("--shard_size=0", "--shard_size=0 must be 1 to"),
        ("--splits=train,test", "there is no split 'test'"),
        ("--dataset=digits", "--dataset=digits is small"),
        ("--data_dir=missing", "missing is not a folder"),
    ],
)
def test_wrong_options_are_one_line(option, why, photographs, tmp_path, capsys):
    assert status_of(f"--data_dir={photographs}", f"--out={tmp_path}/out", "--num_workers=0", option) == 2
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_split_that_was_not_prepared_is_named(photographs, tmp_path):
    shutil.rmtree(photographs / "val")
    prepare("folder", str(photographs), tmp_path / "out", SMALL, splits=("train",))
    with pytest.raises(InputError, match="has no split val, only train"):
        load_source("prepared", "val", str(tmp_path / "out"), 0)
    with pytest.raises(InputError, match="needs --data_dir=OUT"):
        load_source("prepared", "val", None, 0)


def test_a_manifest_of_another_time_is_refused(photographs, tmp_path):
    out = tmp_path / "out"
    manifest = prepare("folder", str(photographs), out, SMALL)
    (out / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(InputError, match="has format 2, this program reads format 1"):
        load_source("prepared", "train", str(out), 0)
    (out / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json cannot be read"):
        load_source("prepared", "train", str(out), 0)


@pytest.mark.slow
def test_the_shards_do_not_depend_on_the_workers(photographs, tmp_path):
    for workers in (0, 1):
        prepare("folder", str(photographs), tmp_path / str(workers), SMALL, num_workers=workers)
    assert files_of(tmp_path / "0") == files_of(tmp_path / "1")


@pytest.mark.slow
def test_a_training_on_it_runs_from_the_command_line(photographs, tmp_path):
    prepare("folder", str(photographs), tmp_path / "out", SMALL)
    options = ["--dataset=prepared", f"--data_dir={tmp_path}/out", f"--workdir={tmp_path}/run", "--num_workers=0"]
    toy = ["--model=resnet8_cifar", "--width=2", "--image_size=16", "--batch_size=8", "--steps=2"]
    imagenet.main([*options, *toy])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["step"], result["num_examples"], result["skipped_images"]) == (2, 2, 0)


def test_real_jpegs_become_smaller_and_stay_the_same_pictures(real_data, tmp_path):
    for split, count in (("train", 8), ("val", 2)):
        (tmp_path / "raw" / split / "any").mkdir(parents=True)
        for file in sorted((real_data / "imagenet-raw-64").glob("*"))[:count]:
            shutil.copy(file, tmp_path / "raw" / split / "any")
    manifest = prepare("folder", str(tmp_path / "raw"), tmp_path / "out", Encoding())
    original = folder_source("train", str(tmp_path / "raw"))
    source = load_source("prepared", "train", str(tmp_path / "out"), 0)
    raw = sum(len(bytes(original[i].image)) for i in range(8))
    assert manifest["splits"]["train"]["shards"][0]["bytes"] < raw / 2
    for index in range(8):
        small = pixels_of(original[index])
        if min(small.shape[:2]) > 256:
            small = resize_short_side(small, 256)
        stored = pixels_of(source[index])
        assert stored.shape == small.shape
        assert np.abs(stored.astype(int) - small).mean() < 4


def test_the_pieces_of_a_large_set_are_its_images_in_order():
    count, size = 14_000_000, 10_000
    pieces = [piece for shard in range(count // size) for piece in writing.chunks_in(shard, size, count)]
    ends = [0] + [piece.stop for piece in pieces]
    assert [piece.start for piece in pieces] == ends[:-1]
    assert ends[-1] == count
    assert max(map(len, pieces)) == writing.CHUNK


def test_masks_are_not_prepared(tmp_path):
    with pytest.raises(InputError, match=r"--dataset=masks: pictures with masks are not prepared; experiments.segment"):
        prepare("masks", str(tmp_path), tmp_path / "out", Encoding())


def test_an_image_that_is_too_long_for_a_jpeg_is_unreadable_and_no_crash():
    data = io.BytesIO()
    Image.new("RGB", (70_000, 10)).save(data, "PNG")
    with pytest.raises(UnreadableImage, match=r"long.png: stored with 70000 x 10 pixels, and a JPEG has 65,500 a side"):
        Encoding()(data.getvalue(), "long.png")
