"""A tiny prepared set is written without TensorFlow, and read back without it."""

import io
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from PIL import Image

from resnet_jax.data.decode import decode_image
from resnet_jax.data.sources.load import load_source
from resnet_jax.data.sources.source import ArraySource
from resnet_jax.data.sources.tfds import TfdsSource, tfds_source
from resnet_jax.errors import InputError


def png(pixels: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    file.seek(0)
    return file


def prepare(data_dir: Path, splits: dict[str, int], labels=("a", "b", "c"), name="toy") -> Path:
    """Writes DATA_DIR/toy/1.0.0; all pixels of example i are i, its class is i % 3."""
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=list(labels)),
            "file_name": tfds.features.Text(),
        }
    )

    def example(i: int) -> dict[str, Any]:
        return {"image": png(np.full((4, 5, 3), i, np.uint8)), "label": i % 3, "file_name": f"{i}.png"}

    return prepare_records(data_dir, name, features, {s: [example(i) for i in range(n)] for s, n in splits.items()})


def prepare_records(data_dir: Path, name: str, features: Any, splits: dict[str, list[dict[str, Any]]]) -> Path:
    """Write a set as `download_and_prepare` leaves it, and return its folder."""
    root = data_dir / name / "1.0.0"
    root.mkdir(parents=True)
    infos = []
    for split, examples in splits.items():
        path = root / f"{name}-{split}.array_record-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")
        for example in examples:
            writer.write(features.serialize_example(example))
        writer.close()
        template = tfds.core.ShardedFileTemplate(
            dataset_name=name, data_dir=root, split=split, filetype_suffix="array_record"
        )
        info = tfds.core.SplitInfo(
            name=split, shard_lengths=[len(examples)], num_bytes=path.stat().st_size, filename_template=template
        )
        infos.append(info)
    tfds.folder_dataset.write_metadata(
        data_dir=str(root), features=features, split_infos=infos, filename_template=None, check_data=False
    )
    return root


def test_reads_a_prepared_set_without_tensorflow(tmp_path):
    prepare(tmp_path, {"train": 5, "test": 3})
    source = load_source("toy", "train", str(tmp_path), 224)
    assert source.class_names == ("a", "b", "c")
    assert len(source) == 5
    image, label, name = source[4]
    assert isinstance(image, bytes)
    np.testing.assert_array_equal(decode_image(image, name), np.full((4, 5, 3), 4))
    assert label == 1
    assert name == "toy train example 4 (4.png)"
    assert "tensorflow" not in sys.modules


@pytest.mark.parametrize(("splits", "length"), [({"test": 3}, 3), ({"validation": 2, "test": 3}, 2)])
def test_validation_is_its_validation_split_or_else_test(tmp_path, splits, length):
    prepare(tmp_path, {"train": 5, **splits})
    assert len(load_source("toy", "val", str(tmp_path), 0)) == length


def test_a_missing_split_is_named(tmp_path):
    prepare(tmp_path, {"train": 5})
    with pytest.raises(InputError, match="has no split validation or test, only train"):
        tfds_source("toy", "val", str(tmp_path))


def test_labels_out_of_range_are_refused():
    record = {"image": b"", "label": 3, "file_name": b"x.png"}
    with pytest.raises(InputError, match=r"toy train example 0 \(x\.png\) has label 3, but the set has 2 classes"):
        TfdsSource([record], ("a", "b"), "toy train")[0]


def test_cifar_may_come_from_tfds(tmp_path):
    prepare(tmp_path, {"train": 5, "test": 3}, name="cifar10").rename(tmp_path / "cifar10" / "3.0.2")
    info = tmp_path / "cifar10" / "3.0.2" / "dataset_info.json"
    info.write_text(info.read_text().replace("1.0.0", "3.0.2"))
    source = load_source("cifar10", "val", str(tmp_path), 0)
    assert isinstance(source, ArraySource)
    assert source.images[:, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("damage", ["missing", "cut", "short"])
def test_incomplete_files_are_refused(tmp_path, damage):
    root = prepare(tmp_path, {"train": 5})
    file = next(root.glob("*train*"))
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:-70_000])
    else:
        info = root / "dataset_info.json"
        info.write_text(info.read_text().replace('"5"', '"6"'))
    says = {"missing": "is missing", "cut": "damaged or cut short", "short": "5 records instead of 6"}
    with pytest.raises(InputError, match=rf"{file.name}.* {says[damage]}"):
        tfds_source("toy", "train", str(tmp_path))


def damage_a_record(file: Path, text: bytes) -> None:
    """Flip a bit where a record has this text."""
    data = bytearray(file.read_bytes())
    data[data.index(text)] ^= 1
    file.write_bytes(data)


def test_a_damaged_record_is_one_line_and_leaves_the_others(tmp_path):
    root = prepare(tmp_path, {"train": 5})
    damage_a_record(next(root.glob("*train*")), b"3.png")
    source = tfds_source("toy", "train", str(tmp_path))
    with pytest.raises(InputError, match=r"^toy train example 3 cannot be read: a shard is damaged; copy .*[^\n]*$"):
        source[3]
    assert source[4].label == 1
    with pytest.raises(IndexError):
        source[5]


def test_more_shards_than_may_be_open_are_refused_before_they_are_read(tmp_path, monkeypatch):
    prepare(tmp_path, {"train": 5})
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (64, 64))
    with pytest.raises(
        InputError, match=r"^toy train has 1 shards, which stay open, .* 64 files at most; .*ulimit -n 65"
    ):
        tfds_source("toy", "train", str(tmp_path))


def test_says_how_to_prepare_imagenet(tmp_path):
    with pytest.raises(InputError) as caught:
        load_source("imagenet2012", "train", str(tmp_path), 224)
    message = str(caught.value)
    for part in (
        f"ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar in {tmp_path}/downloads/manual",
        "pip install 'residual-jax[prepare]'",
        "download_and_prepare(file_format='array_record')",
        "--dataset=folder --data_dir=ROOT",
    ):
        assert part in message
    assert "\n" not in message


@pytest.mark.parametrize(("name", "meant"), [("cifra10", "cifar10"), ("imagenet", "imagenette"), ("digit", "digits")])
def test_unknown_names_are_answered_with_close_ones(tmp_path, name, meant):
    with pytest.raises(InputError, match=f"unknown --dataset={name}; did you mean .*{meant}") as caught:
        load_source(name, "train", str(tmp_path), 224)
    assert "\n" not in str(caught.value)


def test_sets_that_are_not_image_classification_are_refused(tmp_path):
    root = prepare(tmp_path, {"train": 5})
    features = root / "features.json"
    features.write_text(features.read_text().replace('"label"', '"caption"'))
    with pytest.raises(InputError, match="toy is not image classification: it has caption, file_name, image"):
        tfds_source("toy", "train", str(tmp_path))


@pytest.mark.parametrize("name", ["coco", "ljspeech", "mnist:9.9.9"])
def test_names_that_tfds_cannot_open_are_one_line(tmp_path, name, capfd):
    with pytest.raises(InputError, match=rf"--dataset={name} (needs|cannot be opened)") as caught:
        tfds_source(name, "train", str(tmp_path))
    assert "\n" not in str(caught.value)
    assert "Failed to import TensorFlow" not in "".join(capfd.readouterr())


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(InputError, match="--dataset=coco needs the package tensorflow"):
        tfds_source("coco", "train", str(tmp_path))


def test_a_set_without_images_is_refused(tmp_path):
    root = prepare(tmp_path, {"train": 5})
    features = root / "features.json"
    features.write_text(features.read_text().replace('"image"', '"picture"', 1))
    with pytest.raises(InputError, match="toy is not image classification"):
        tfds_source("toy", "train", str(tmp_path))
