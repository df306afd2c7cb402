"""Files that are not what their name says: loaded by their content, or refused with what they are."""

import gzip
import io
import json
import tarfile
import zipfile

import ml_dtypes
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.weights.formats import write_tensors
from tests.weights.reading import read_tensors
from tests.weights.torch_writer import save

pytest.importorskip("safetensors")

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 102469840\n" % (b"ab" * 32)
ENDINGS = ("pth", "safetensors", "npz", "bin")


@pytest.mark.parametrize(
    "name", ["x.pth", "x.npz", "x.safetensors", "x.bin", "x.NPZ", "x.SafeTensors", "x", "x.download"]
)
@pytest.mark.parametrize("kind", ["safetensors", "npz", "torch", "legacy"])
def test_the_content_tells_the_kind(tmp_path, name, kind):
    if kind in ("safetensors", "npz"):
        write_tensors(tmp_path / f"written.{kind}", TENSORS)
        (tmp_path / f"written.{kind}").rename(tmp_path / name)
    else:
        save(tmp_path / name, {"state_dict": TENSORS}, legacy=kind == "legacy")
    np.testing.assert_array_equal(read_tensors(tmp_path / name)["a.weight"], TENSORS["a.weight"])


def zipped(name):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, "content")
    return packed.getvalue()


def tarred():
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pth"), io.BytesIO())
    return packed.getvalue()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>" + b"x" * 9999, "an HTML page.*: the download failed"),
        (b"\xef\xbb\xbf \n<html lang='de'>\xc3\xa4", "an HTML page, not the weights: the download failed"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a page of a web server.*download failed"),
        (POINTER, "a git-lfs pointer, not the weights; run `git lfs pull`"),
        (b'{"error": "Repository not found"}', r"text \('{\"error\": \"repository not found\"}'\), not weights"),
        (b"Entry not found", "text .*not weights; download the file itself"),
        (gzip.compress(b"weights", mtime=0), "compressed with gzip; unpack it"),
        (tarred(), "a tar archive; unpack it"),
        (zipped("resnet/weights.pth"), r"a zip archive of resnet/weights\.pth .*not of tensors; unpack it"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file, as Keras writes it"),
        (b"\x93NUMPY\x01\x00", r"a single array \(\.npy\)"),
        (b"\x89PNG\r\n\x1a\n", "a picture"),
    ],
)
def test_other_content_is_named(tmp_path, ending, data, kind):
    path = tmp_path / f"x.{ending}"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"x\.{ending}: {kind}") as error:
        read_tensors(path)
    assert "\n" not in str(error.value)


def test_unknown_content_under_an_unknown_name(tmp_path):
    (tmp_path / "x.h5").write_bytes(bytes(range(1, 99)))
    with pytest.raises(InputError, match=r"x\.h5: not a file of weights; those end in \.safetensors"):
        read_tensors(tmp_path / "x.h5")


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (np.array(["a", "b"]), "text"),
        (np.array([b"a"]), "text"),
        (np.array([(1, 2.0)], [("x", "i4"), ("y", "f4")]), "records"),
        (np.array([1, None], object), "Python objects"),
        (np.ones(2, complex), "complex numbers"),
        (np.zeros(2, "M8[s]"), "dates"),
    ],
)
def test_arrays_of_something_else_are_named(tmp_path, array, kind):
    np.savez(tmp_path / "x.npz", a=np.ones(2), odd=array)
    with pytest.raises(InputError, match=rf"x\.npz: array 'odd' holds {kind}, not (real )?numbers; leave it out"):
        read_tensors(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("name", "dtype"), [("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2"), ("BF16", "bfloat16")]
)
def test_small_floats_are_loaded_from_safetensors(tmp_path, name, dtype):
    numbers = np.array([0.5, -1.25, 3], np.float32).astype(getattr(ml_dtypes, dtype))
    header = json.dumps({"a": {"dtype": name, "shape": [3], "data_offsets": [0, numbers.nbytes]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + numbers.tobytes())
    np.testing.assert_array_equal(read_tensors(tmp_path / "x.safetensors")["a"], [0.5, -1.25, 3])
