"""Files of tensors: what goes in comes out, and nothing that a stranger's file holds is executed."""

import os
import zipfile

import ml_dtypes
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.weights.formats import read_file, write_tensors
from tests.weights.reading import read_tensors

pytest.importorskip("safetensors")

TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.zeros((), np.int64)}


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return os.system, (f"touch {self.sentinel}",)


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_what_is_written_is_read(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    write_tensors(path, TENSORS | {"turned": TENSORS["a.weight"].T})
    read = read_tensors(path)
    assert read["n"].dtype == np.int64
    np.testing.assert_array_equal(read["a.weight"], TENSORS["a.weight"])
    np.testing.assert_array_equal(read["turned"], TENSORS["a.weight"].T)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_safetensors_file_says_what_it_is(tmp_path):
    write_tensors(tmp_path / "x.safetensors", TENSORS, {"model": "resnet18"})
    assert read_file(tmp_path / "x.safetensors").facts == {"model": "resnet18"}
    write_tensors(tmp_path / "x.npz", TENSORS)
    assert read_file(tmp_path / "x.npz").facts == {}


def test_a_safetensors_file_has_the_same_bytes_every_time(tmp_path):
    """The library orders metadata by chance: with six names nearly all of ten files would differ."""
    tensors = {"w": np.arange(6, dtype=np.float32), "ä": np.zeros((2, 2), np.float32)}
    facts = {
        name: f"{name} ü 1/2" for name in ("model", "source", "class_names", "preprocessing", "options", "license")
    }
    for k in range(10):
        write_tensors(tmp_path / f"{k}.safetensors", tensors, facts)
    assert len({(tmp_path / f"{k}.safetensors").read_bytes() for k in range(10)}) == 1
    assert read_file(tmp_path / "0.safetensors").facts == facts
    np.testing.assert_array_equal(read_tensors(tmp_path / "0.safetensors")["w"], tensors["w"])


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ml_dtypes.bfloat16])
def test_every_floating_type_becomes_float32(tmp_path, dtype):
    write_tensors(tmp_path / "x.safetensors", {"a": np.array([1.5, -2.0], dtype)})
    read = read_tensors(tmp_path / "x.safetensors")["a"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, [1.5, -2.0])


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.npz"
    write_tensors(path, TENSORS)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"--out=.*: tensors are written to"):
        write_tensors(tmp_path / "x.pth", TENSORS)
    with pytest.raises(InputError, match="cannot be written"):
        write_tensors(path / "inside.npz", TENSORS)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.npz"]


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_file_cut_short_is_named(tmp_path, ending, part):
    path = tmp_path / f"x.{ending}"
    write_tensors(path, {"a": np.ones(1000, np.float32)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError, match=rf"x\.{ending}: damaged or cut short at [\d,]+ bytes .*; copy it again"):
        read_tensors(path)


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, ending):
    resource = pytest.importorskip("resource", reason="limits the size of a file, which ends as a full disk does")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError, match=rf"--out=.*x\.{ending}: cannot be written \(.*File too large") as caught:
            write_tensors(tmp_path / f"x.{ending}", {"a": np.ones(1000, np.float32)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_pickled_objects_in_an_npz_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.array([Payload(tmp_path / "ran")], object))
    with pytest.raises(InputError, match=r"x\.npz"):
        read_tensors(tmp_path / "x.npz")
    assert not (tmp_path / "ran").exists()


def test_a_small_file_cannot_claim_all_memory(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("a.npy", "w", force_zip64=True) as entry:
        for _ in range(300):
            entry.write(bytes(2**20))
    with pytest.raises(InputError, match=r"0\.3 MiB that would unpack to 0\.3 GiB"):
        read_tensors(path)
    huge = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
    (tmp_path / "y.safetensors").write_bytes(len(huge).to_bytes(8, "little") + huge)
    with pytest.raises(InputError, match="damaged"):
        read_tensors(tmp_path / "y.safetensors")


def test_a_description_that_an_npz_does_not_hold_is_refused_and_safetensors_holds_it(tmp_path):
    facts = {"class_names": "x" * 70_000}
    with pytest.raises(InputError, match=r"big\.npz: its description has 70,\d+ bytes, and .* write .safetensors"):
        write_tensors(tmp_path / "big.npz", {"a": np.zeros(1)}, facts)
    assert not list(tmp_path.iterdir())
    write_tensors(tmp_path / "big.safetensors", {"a": np.zeros(1)}, facts)
    assert read_file(tmp_path / "big.safetensors").facts["class_names"] == facts["class_names"]


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.npz: No such file"):
        read_tensors(tmp_path / "absent.npz")
    with pytest.raises(InputError, match=r"ending in \.safetensors, \.npz, \.pth"):
        read_tensors(tmp_path / "x.h5")
    write_tensors(tmp_path / "x.npz", {})
    with pytest.raises(InputError, match="holds no tensors"):
        read_tensors(tmp_path / "x.npz")


def test_a_folder_is_answered_with_the_files_in_it(tmp_path):
    with pytest.raises(InputError, match="a folder without files of weights"):
        read_tensors(tmp_path)
    write_tensors(tmp_path / "model.safetensors", {"a": np.zeros(1)})
    (tmp_path / "config.json").touch()
    with pytest.raises(InputError, match=r"a folder; name a file in it: model\.safetensors$"):
        read_tensors(tmp_path)
