"""Names as others have them: any common prefix, Hugging Face's and BiT's names, both ways."""

import re

import numpy as np
import pytest

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.weights.formats import write_tensors
from resnet_jax.weights.layout import to_tensors
from resnet_jax.weights.pretrained import exact_variables, load_pretrained, open_weights
from resnet_jax.weights.rules import bit, hugging_face, rules_for
from resnet_jax.weights.shapes import variable_shapes
from resnet_jax.weights.torch_layout import to_torch, torch_layout
from tests.weights.conftest import assert_equal_trees
from tests.weights.torch_writer import save

MODEL = "resnet8_cifar"
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder_q.", "encoder.", "net.", "module._orig_mod.model.")


@pytest.fixture
def variables(random_variables):
    return random_variables(MODEL)


@pytest.fixture
def state(variables):
    return to_torch(variables, rules_for(MODEL))


@pytest.mark.parametrize("prefix", [*PREFIXES, "anything.else."])
@pytest.mark.parametrize("ending", ["pth", "npz"])
def test_a_common_prefix_is_removed(tmp_path, variables, state, prefix, ending):
    tensors = {prefix + name: tensor for name, tensor in state.items()}
    path = tmp_path / f"x.{ending}"
    save(path, tensors) if ending == "pth" else write_tensors(path, tensors)
    assert_equal_trees(load_pretrained(MODEL, path), variables)


def test_tensors_beside_the_network_are_left_out_with_a_line(tmp_path, variables, state, capsys):
    tensors = {f"model.{name}": tensor for name, tensor in state.items()} | {"criterion.weight": np.ones(10)}
    assert_equal_trees(load_pretrained(MODEL, save(tmp_path / "x.ckpt", {"state_dict": tensors})), variables)
    assert capsys.readouterr().err == (
        f"{tmp_path}/x.ckpt: took the weights under 'model.'; 1 other tensors are left out (criterion.weight)\n"
    )


def test_of_two_networks_in_one_state_dict_one_is_taken_with_a_line(tmp_path, variables, state):
    tensors = {f"module.encoder_q.{name}": tensor for name, tensor in state.items()}
    tensors |= {f"module.encoder_k.{name}": tensor + 1 for name, tensor in state.items()}
    path = save(tmp_path / "x.pth", tensors | {"module.queue": np.ones((2, 3))})
    weights = open_weights(MODEL, path)
    assert_equal_trees(exact_variables(weights), variables)
    (note,) = weights.notes
    assert "'encoder_q.'" in note
    assert "'encoder_k.' fits too (--weights_key=encoder_k)" in note
    for key in ("encoder_k", "module.encoder_k"):
        other = load_pretrained(MODEL, path, weights_key=key)
        np.testing.assert_array_equal(other["params"]["head"]["bias"], variables["params"]["head"]["bias"] + 1)


def test_without_a_prefix_every_unknown_tensor_is_an_error(tmp_path, state):
    with pytest.raises(InputError, match=r"x\.pth does not fit resnet8_cifar: 1 unknown: extra"):
        load_pretrained(MODEL, save(tmp_path / "x.pth", state | {"extra": np.ones(2)}))
    missing = {f"module.{name}": tensor for name, tensor in state.items() if name != "conv1.weight"}
    with pytest.raises(InputError, match=r"x\.pth does not fit resnet8_cifar: 1 missing: conv1\.weight$"):
        load_pretrained(MODEL, save(tmp_path / "x.pth", missing))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("params/stem_conv/kernel", "resnet.embedder.embedder.convolution.weight"),
        ("batch_stats/stem_norm/var", "resnet.embedder.embedder.normalization.running_var"),
        ("params/stage1_block01/conv1/kernel", "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"),
        ("params/stage3_block06/norm3/scale", "resnet.encoder.stages.2.layers.5.layer.2.normalization.weight"),
        ("params/stage4_block01/conv_proj/kernel", "resnet.encoder.stages.3.layers.0.shortcut.convolution.weight"),
        ("params/stage4_block01/norm_proj/bias", "resnet.encoder.stages.3.layers.0.shortcut.normalization.bias"),
        ("params/head/kernel", "classifier.1.weight"),
    ],
)
def test_hugging_faces_names(ours, theirs):
    assert torch_layout(hugging_face.RULES).name(tuple(ours.split("/"))) == theirs


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_hugging_faces_files_are_loaded(tmp_path, random_variables, model):
    variables = random_variables(model)
    tensors = to_torch(variables, hugging_face.RULES)
    write_tensors(tmp_path / "x.npz", tensors)
    assert_equal_trees(load_pretrained(model, tmp_path / "x.npz"), variables)
    # ResNetModel, without a head.
    bare = {name.removeprefix("resnet."): t for name, t in tensors.items() if not name.startswith("classifier")}
    write_tensors(tmp_path / "y.npz", bare)
    del variables["params"]["head"]
    assert_equal_trees(load_pretrained(model, tmp_path / "y.npz", num_classes=0), variables)


def test_torchvisions_densenet_files_are_loaded(tmp_path, random_variables):
    variables = random_variables("densenet121")
    tensors = to_torch(variables, rules_for("densenet121"))
    # The inverse of torchvision's own renaming, in models/densenet.py.
    renamed = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12]\.)", r"\1.\2", n): t for n, t in tensors.items()}
    assert "features.denseblock4.denselayer16.norm.2.running_var" in renamed
    assert "features.denseblock1.denselayer1.conv.1.weight" in renamed
    write_tensors(tmp_path / "densenet121-a639ec97.npz", renamed)
    assert_equal_trees(load_pretrained("densenet121", tmp_path / "densenet121-a639ec97.npz"), variables)


def test_bits_names():
    names = {
        "params/stem_conv/kernel": "resnet/root_block/standardized_conv2d/kernel",
        "params/stage1_block01/norm1/scale": "resnet/block1/unit01/a/group_norm/gamma",
        "params/stage3_block06/conv3/kernel": "resnet/block3/unit06/c/standardized_conv2d/kernel",
        "params/stage2_block01/conv_proj/kernel": "resnet/block2/unit01/a/proj/standardized_conv2d/kernel",
        "params/head_norm/bias": "resnet/group_norm/beta",
        "params/head/kernel": "resnet/head/conv2d/kernel",
        "params/head/bias": "resnet/head/conv2d/bias",
    }
    assert {ours: bit.name(tuple(ours.split("/"))) for ours in names} == names
    shapes = variable_shapes("resnetv2_50x1_bit", None)
    assert shapes["params"]["head"]["kernel"].shape == (1, 1, 2048, 1000)


def test_bits_files_are_loaded(tmp_path, random_variables):
    variables = random_variables("resnetv2_50x1_bit")
    tensors = to_tensors(variables, bit.LAYOUT)
    assert all(
        re.match(r"resnet/(root_block|block\d/unit\d\d/[abc]|group_norm|head/conv2d)/", name) for name in tensors
    )
    write_tensors(tmp_path / "BiT-M-R50x1-ILSVRC2012.npz", tensors)
    weights = open_weights("resnetv2_50x1_bit", tmp_path / "BiT-M-R50x1-ILSVRC2012.npz")
    assert_equal_trees(exact_variables(weights), variables)
    assert weights.preprocessing == Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)
    assert weights.preprocessing_from == "BiT's usual values (assumed)"


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["layer2.0.conv1.weight", "bn1.running_mean", "linear.bias"])
def test_numbers_that_are_not_finite_are_refused(tmp_path, state, name, number):
    state[name].reshape(-1)[3] = number
    with pytest.raises(InputError, match=rf"x\.pth does not fit .*: 1 with NaN or infinite numbers: {name}; get"):
        load_pretrained(MODEL, save(tmp_path / "x.pth", state))


def test_negative_variances_are_refused(tmp_path, state):
    state["bn1.running_var"][3] = -0.1
    with pytest.raises(InputError, match=r"1 with negative variances: bn1\.running_var; get another copy"):
        load_pretrained(MODEL, save(tmp_path / "x.pth", state))
