"""Files are compared before they get their name; what goes wrong leaves nothing."""

import jax.numpy as jnp
import numpy as np
import onnx
import pytest

import resnet_jax
from resnet_jax.errors import InputError
from resnet_jax.export import write, write_onnx
from resnet_jax.export.predict_onnx import RefusedFile, open_network
from resnet_jax.export.write import export
from resnet_jax.weights.pretrained import load_pretrained
from tests.export.toys import toy

TOY = toy()


def test_a_file_tells_its_classes_and_its_preprocessing(tmp_path):
    written = export(TOY, tmp_path / "net.onnx")
    facts = {entry.key: entry.value for entry in onnx.load(written.path).metadata_props}
    assert facts["image_size"] == "16"
    assert facts["mean"] == "[0.5, 0.4, 0.3]"
    assert facts["class_names"].startswith('["kind 0", "kind 1"')
    assert written.difference < 1e-5
    assert written.agreeing == written.compared == 16


def test_pictures_may_be_normalized_inside(tmp_path):
    written = export(TOY, tmp_path / "net.onnx", with_preprocessing=True)
    assert written.difference < 1e-5
    assert written.operators["Transpose"] == 1
    assert onnx.load(written.path).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_a_network_that_computes_in_bfloat16_is_written_in_float32(tmp_path):
    written = export(toy(dtype=jnp.bfloat16), tmp_path / "net.onnx")
    assert written.difference < 1e-5


def test_pixels_are_classified_at_any_size_that_is_named(tmp_path):
    trained = toy("unet_resnet8_cifar", width=8, skips="add")
    written = export(trained, tmp_path / "net.onnx", size=(16, 24))
    assert written.difference < 1e-5
    assert written.compared == 16 * 16 * 24
    shape = onnx.load(written.path).graph.output[0].type.tensor_type.shape
    assert [d.dim_value for d in shape.dim[1:]] == [10, 16, 24]
    with pytest.raises(RefusedFile, match="classifies pixels"):
        open_network(written.path)
    with pytest.raises(InputError, match="--to=web is for networks that classify images, not pixels"):
        export(trained, tmp_path / "page", "web")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": (16, 16)}, "--size is for networks that classify pixels; of others, --image_size"),
        ({"to": "safetensors", "with_preprocessing": True}, "--to=onnx or stablehlo or web, not for safetensors"),
        ({"to": "safetensors", "dataset": "digits"}, "--dataset is for --to=onnx or stablehlo or web, not for safet"),
        ({"num_pictures": 0}, "--pictures=0 must be at least 1"),
        ({"beside": True}, "--beside is for --to=stablehlo, not for onnx"),
        ({"max_drop": 1.0}, "--max_drop=1.0 must be a fraction from 0 to 1"),
        ({"max_drop": float("nan")}, "--max_drop=nan must be a fraction"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        export(TOY, tmp_path / "net.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_a_program_and_what_belongs_to_it_are_written_together_or_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr("resnet_jax.export.write.run_program", lambda *args: np.zeros((16, 10)))
    with pytest.raises(InputError, match="nothing was kept"):
        export(TOY, tmp_path / "net.stablehlo", beside=True)
    assert not list(tmp_path.iterdir())


def test_a_program_is_compared_at_a_second_size_too(tmp_path, monkeypatch):
    right = write.run_program

    def wrong_elsewhere(data, arrays, images):
        return right(data, arrays, images) * (1 if images.shape[1:3] == (16, 16) else 1.001)

    monkeypatch.setattr(write, "run_program", wrong_elsewhere)
    with pytest.raises(InputError, match=r"differ from ours by 1\.0e-03 of the largest"):
        export(TOY, tmp_path / "net.stablehlo")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", ["json", "safetensors"])
def test_what_lies_beside_a_program_and_is_not_its_own_stays(tmp_path, ending):
    (tmp_path / f"config.{ending}").write_text("mine")
    with pytest.raises(InputError, match=rf"comes with .*config.{ending}, which exists; remove it, or name another"):
        export(TOY, tmp_path / "config", "stablehlo", beside=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_half_takes_half_the_bytes(tmp_path):
    whole, half = (export(TOY, tmp_path / f"{name}.onnx", half=name == "half") for name in ("whole", "half"))
    assert half.path.stat().st_size < 0.6 * whole.path.stat().st_size
    assert 1e-6 < half.difference < 1e-2


def test_weights_are_read_again(tmp_path):
    written = export(TOY, tmp_path / "net.safetensors")
    read = load_pretrained("resnet8_cifar", written.path)
    np.testing.assert_array_equal(read["params"]["head"]["kernel"], TOY.variables["params"]["head"]["kernel"])
    assert written.agreeing == written.compared > 20


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    right = write_onnx.logits_of
    monkeypatch.setattr(write_onnx, "logits_of", lambda *args: right(*args) * 1.001)
    with pytest.raises(InputError, match=r"net.onnx: the written network's logits differ from ours by 1.0e-03 of"):
        export(TOY, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_file_that_computes_no_number_is_not_kept(tmp_path, monkeypatch):
    right = write_onnx.logits_of
    monkeypatch.setattr(write_onnx, "logits_of", lambda *args: right(*args) * np.nan)
    with pytest.raises(InputError, match="differ from ours by nan"):
        export(TOY, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_an_older_file_stays_when_a_new_one_fails(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_text("the older one")
    monkeypatch.setattr(write_onnx, "logits_of", lambda network, images: np.zeros((16, 10)))
    with pytest.raises(InputError, match="differ from ours by"):
        export(TOY, tmp_path / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert (tmp_path / "net.onnx").read_text() == "the older one"


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("resnet_jax.export.checks.find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(InputError, match=r"need the package onnxruntime.*pip install 'residual-jax\[export\]'"):
        export(TOY, tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("net.pt", "name the format, --to=onnx, stablehlo, safetensors or web"),
        ("missing/net.onnx", "there is no folder"),
        ("folder.onnx", "is a folder; name a file in it"),
    ],
)
def test_what_cannot_be_written_is_refused_first(tmp_path, out, message):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match=message):
        export(TOY, tmp_path / out)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)  # tests may run as root, who may write everywhere
    with pytest.raises(InputError, match="cannot be written to; name another folder"):
        export(TOY, tmp_path / "net.onnx")


def test_the_room_is_the_function(tmp_path):
    assert resnet_jax.export(TOY, tmp_path / "net.safetensors").path.exists()
