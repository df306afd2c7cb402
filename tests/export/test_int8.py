"""8-bit integers: what the file holds, what it computes, and what it may lose."""

from dataclasses import replace

import onnx
import pytest

from resnet_jax.errors import InputError
from resnet_jax.export.predict_onnx import open_network
from resnet_jax.export.write import export
from tests.export.toys import toy

TOY = replace(toy(), class_names=tuple("0123456789"))


def test_kernels_are_integers_and_most_pictures_keep_their_class(tmp_path):
    written = export(TOY, tmp_path / "small.onnx", int8=True, dataset="digits", max_drop=0.05)
    kinds = {array.name: array.data_type for array in onnx.load(written.path).graph.initializer}
    assert sum(kind == onnx.TensorProto.INT8 for name, kind in kinds.items() if "kernel" in name) >= 8
    assert written.path.stat().st_size < 0.5 * export(TOY, tmp_path / "large.onnx").path.stat().st_size
    assert written.agreeing >= 12
    assert written.difference < 0.1
    count, before, after = written.top1
    assert count == 360
    _, facts = open_network(written.path)  # quantizing keeps what tells classes and preprocessing
    assert (facts["class_names"], facts["image_size"]) == (list("0123456789"), 16)
    assert abs(before - after) <= 18


def test_a_file_that_loses_more_than_allowed_is_not_kept(tmp_path, monkeypatch):
    counts = iter([360, 180])  # right before, and after
    monkeypatch.setattr("resnet_jax.export.write_onnx.count_right", lambda *args: next(counts))
    with pytest.raises(InputError, match=r"top-1 falls from 1.0000 to 0.5000 on 360 pictures, by more than --max_drop"):
        export(TOY, tmp_path / "small.onnx", int8=True, dataset="digits")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "--int8 needs pictures with the network's classes"),
        ({"dataset": "cifar10_small"}, "cifar10_small"),
        ({"dataset": "digits", "half": True}, "take one"),
        ({"dataset": "digits", "to": "stablehlo"}, "--int8 is for --to=onnx, not for stablehlo"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        export(TOY, tmp_path / "small.onnx", int8=True, **options)
    assert not list(tmp_path.iterdir())
