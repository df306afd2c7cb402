import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from resnet_jax.data.decode import UnreadableImage, decode_image
from resnet_jax.data.sources.folder import FolderSource, folder_source
from resnet_jax.data.sources.source import example_digest
from resnet_jax.errors import InputError

BOTH = {"train/a": 2, "train/b": 3, "val/a": 1, "val/b": 1}


def test_reads_images_by_class_and_name(write_folder):
    root = write_folder(BOTH)
    source = folder_source("train", str(root))
    assert source.class_names == ("a", "b")
    assert [source[i].label for i in range(len(source))] == [0, 0, 1, 1, 1]
    assert source[4].name == str(root / "train" / "b" / "2.png")
    for i in range(5):
        image = source[i].image
        assert isinstance(image, bytes)
        assert (decode_image(image, "") == i).all()
    assert len(folder_source("val", str(root))) == 2


def test_class_folders_alone_are_a_set_to_evaluate_on(write_folder):
    root = write_folder({"ant": 2, "bee": 1})
    source = folder_source("val", str(root))
    assert source.class_names == ("ant", "bee")
    assert [source[i].label for i in range(len(source))] == [0, 0, 1]
    with pytest.raises(InputError, match="train is not a folder"):
        folder_source("train", str(root))


def test_survives_being_sent_to_a_worker(write_folder):
    source = folder_source("train", str(write_folder(BOTH)))
    assert pickle.loads(pickle.dumps(source))[3] == source[3]


def test_passes_over_hidden_and_other_files(write_folder):
    root = write_folder(BOTH)
    for name in ("a/.hidden.png", "a/readme.txt", ".cache/x.png", "a/._0.png"):
        (root / "train" / name).parent.mkdir(exist_ok=True)
        (root / "train" / name).write_bytes(b"x")
    assert len(folder_source("train", str(root))) == 5


@pytest.mark.parametrize("name", ["0.JPEG", "ü 0.WebP", "0.tif"])
def test_knows_every_extension_in_any_case(write_folder, name):
    root = write_folder({"train/a": 0, "val/a": 1})
    (root / "train" / "a" / name).write_bytes(b"x")
    source = folder_source("train", str(root))
    assert source[0].name.endswith(name)


@pytest.mark.parametrize(
    ("counts", "says"),
    [
        ({}, r"train is not a folder; put the images in .*/train/CLASS/"),
        ({"train": 3, "val/a": 1}, r"train has no class folders"),
        ({"train/a": 1, "train/b": 0, "val/a": 1, "val/b": 1}, r"train/b holds no images"),
        ({"train/a": 1, "train/b": 1, "val/a": 1}, r"but val lacks b$"),
        ({"train/a": 1, "train/b": 1, "val/a": 1, "val/c": 1}, r"but train lacks c; val lacks b$"),
    ],
)
def test_what_is_wrong_is_named(write_folder, counts, says):
    with pytest.raises(InputError, match=says):
        folder_source("train", str(write_folder(counts)))


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(InputError, match="nowhere is not a folder; give --data_dir=ROOT"):
        folder_source("train", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="needs --data_dir=ROOT"):
        folder_source("train", None)


@pytest.mark.parametrize("link", ["train/a/9.png", "train/c", "train"])
def test_links_out_of_the_root_are_refused(write_folder, tmp_path_factory, link):
    outside = tmp_path_factory.mktemp("outside")
    root = write_folder({"val/a": 1} if link == "train" else BOTH)
    (outside / "secret.png").write_bytes(b"x")
    target = outside / "secret.png" if link.endswith(".png") else outside
    (root / link).symlink_to(target)
    with pytest.raises(InputError, match=rf"{link} is a link out of "):
        folder_source("train", str(root))


def test_links_within_the_root_are_followed(write_folder):
    root = write_folder(BOTH)
    (root / "train" / "a" / "9.png").symlink_to(root / "train" / "b" / "0.png")
    assert len(folder_source("train", str(root))) == 6


def test_a_file_that_vanished_is_an_unreadable_image(write_folder):
    root = write_folder(BOTH)
    source = folder_source("train", str(root))
    (root / "train" / "a" / "0.png").unlink()
    with pytest.raises(UnreadableImage, match=r"a/0\.png: No such file"):
        source[0]


def test_real_folder(real_data):
    source = folder_source("train", str(real_data / "hymenoptera"))
    assert source.class_names == ("ants", "bees")
    assert len(source) == 243
    assert np.bincount(source.labels).tolist() == [122, 121]


def test_a_test_split_is_opened_by_its_name_alone(write_folder):
    root = write_folder(BOTH | {"test/a": 2, "test/b": 1})
    assert [len(folder_source(split, str(root))) for split in ("train", "val", "test")] == [5, 2, 3]
    (root / "test" / "c").mkdir()
    with pytest.raises(InputError, match=r"test and train must have the same classes, but train lacks c"):
        folder_source("test", str(root))
    assert [len(folder_source(split, str(root))) for split in ("train", "val")] == [5, 2]


def test_a_folder_without_a_test_split_says_so(write_folder):
    with pytest.raises(InputError, match=r"test is not a folder; put the images in .*test/CLASS/"):
        folder_source("test", str(write_folder(BOTH)))


def test_what_is_called_test_is_no_validation_set_before_it_is_renamed(write_folder):
    with pytest.raises(
        InputError,
        match=r"val is not a folder, but .*test is there; in a training, --val_fraction=0\.2; to prepare it, "
        r"--splits=train; or rename it, or link it",
    ):
        folder_source("val", str(write_folder({"train/a": 1, "test/a": 1})))


def test_a_million_names_are_hashed_in_the_memory_of_three_copies():
    names = [b"n%08d/n%08d_%06d.JPEG" % (i // 1300, i // 1300, i % 1300) for i in range(1_000_000)]
    labels = np.arange(len(names), dtype=np.int32) // 1300
    source = FolderSource(Path("train"), np.array(names), labels, tuple(map(str, range(labels[-1] + 1))))
    assert next(source.identity()) == b"\0".join(names)
    tracemalloc.start()
    try:
        example_digest(source)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * source.files.nbytes


def test_a_class_whose_name_is_no_text_is_refused_before_anything_is_trained(write_folder):
    root = write_folder({"train/a": 1, "val/a": 1})
    os.rename(os.fsencode(root / "train/a"), os.fsencode(root / "train") + b"/caf\xe9")
    with pytest.raises(InputError, match="train/caf\ufffd: the name of this class folder is not UTF-8; rename it"):
        folder_source("train", str(root))
