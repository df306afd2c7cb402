"""Damaged images that are found before a run begins."""

from pathlib import Path

import numpy as np
import pytest

from resnet_jax.data import file_headers
from resnet_jax.data.file_headers import check_file_headers
from resnet_jax.data.sources.fake import fake_source
from resnet_jax.data.sources.folder import folder_source
from resnet_jax.data.sources.source import Example
from resnet_jax.errors import InputError
from tests.data.images import encoded, smooth

WHOLE = {
    "0.jpg": encoded(smooth(200, 160), "JPEG"),
    "1.png": encoded(smooth()),
    "2.webp": encoded(smooth(), "WEBP"),
    "3.tif": encoded(smooth(), "TIFF"),
    "4.gif": encoded(smooth(), "GIF"),
    "5.jpg": encoded(smooth(), "JPEG") + b"trailing",
}


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "val" / "a").mkdir(parents=True)
    for name, data in WHOLE.items():
        (tmp_path / "val" / "a" / name).write_bytes(data)
    return tmp_path


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_whole_images_pass(folder, num_workers):
    check_file_headers(folder_source("val", str(folder)), num_workers)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("0.jpg", b""),
        ("0.jpg", b"<html>404</html>"),
        ("0.jpg", WHOLE["0.jpg"][:100]),
        ("0.jpg", WHOLE["0.jpg"][:3000]),  # its header is whole, its end is missing
        ("1.png", WHOLE["1.png"][:-500]),
        ("2.webp", WHOLE["2.webp"][:20]),
        ("3.tif", b"II*\0\xff\xff\xff\xff"),
    ],
)
def test_a_damaged_image_is_named(folder, name, data):
    path = folder / "val" / "a" / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"^{path}: .*") as caught:
        check_file_headers(folder_source("val", str(folder)), 0)
    assert "\n" not in str(caught.value)


def test_several_are_counted(folder):
    for i in range(10, 20):
        (folder / "val" / "a" / f"{i}.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"^10 of 16 images cannot be read: .*10\.jpg: .*14\.jpg: .*; and 5 more$"):
        check_file_headers(folder_source("val", str(folder)), 0)


def test_of_whole_files_the_ends_alone_are_read(folder, monkeypatch):
    big = WHOLE["0.jpg"]
    damaged = bytearray(big)
    damaged[len(big) // 2] ^= 1
    (folder / "val" / "a" / "0.jpg").write_bytes(bytes(damaged))
    monkeypatch.setattr(file_headers, "decode_image", lambda data, name: pytest.fail(f"{name} was decoded"))
    for name in ("2.webp", "3.tif", "4.gif", "5.jpg"):
        (folder / "val" / "a" / name).unlink()
    check_file_headers(folder_source("val", str(folder)), 0)


def test_sets_in_memory_have_no_file_headers():
    check_file_headers(fake_source("train", 8), 0)


def test_a_source_of_arrays_and_bytes_is_checked():
    class Mixed:
        class_names = ("a",)

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return Example(np.zeros((4, 4, 3), np.uint8) if index else b"no image", 0, f"example {index}")

    with pytest.raises(InputError, match=r"^example 0: not an image"):
        check_file_headers(Mixed(), 0)
