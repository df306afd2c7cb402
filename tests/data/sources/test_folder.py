import pickle

import numpy as np
import pytest

from resnet_jax.data.decode import UnreadableImage, decode_image
from resnet_jax.data.sources.folder import folder_source
from resnet_jax.data.sources.load import load_source
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


def test_a_folder_without_splits_is_divided_by_names_class_by_class(write_folder):
    root = write_folder({"ant": 40, "bee": 10, "cat": 2})
    train, val = (load_source("folder", split, str(root), 0, 0.25) for split in ("train", "val"))
    names = [{example.name for example in source} for source in (train, val)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 52
    assert train.class_names == val.class_names == ("ant", "bee", "cat")
    counts = [sum(example.label == label for example in val) for label in range(3)]
    assert 4 <= counts[0] <= 16
    assert 1 <= counts[1] <= 6
    assert counts[2] == 1


def test_new_images_do_not_move_old_ones(write_folder):
    def validation(root):
        return {example.name.removeprefix(str(root)) for example in load_source("folder", "val", str(root), 0, 0.3)}

    few = validation(write_folder({"ant": 20, "bee": 20}))
    many = validation(write_folder({"ant": 40, "bee": 40}))
    assert few == many & {f"/{name}/{number}.png" for name in ("ant", "bee") for number in range(20)}


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        ({"ant": 3, "bee": 1}, "class 'bee' has one image, and training and validation need one each"),
        ({"train/ant": 2, "val/ant": 1}, r"has splits \(train, val/\); leave it out"),
    ],
)
def test_a_folder_that_cannot_be_divided_is_refused(folders, why, write_folder):
    with pytest.raises(InputError, match=why):
        load_source("folder", "val", str(write_folder(folders)), 0, 0.2)


def test_a_set_with_its_own_splits_is_not_divided():
    with pytest.raises(InputError, match=r"--val_fraction=0.2: --dataset=digits has its own splits"):
        load_source("digits", "train", None, 0, 0.2)
