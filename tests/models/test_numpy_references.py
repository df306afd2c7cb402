"""Networks whose originals are not to be had equal their papers, written down once more in numpy."""

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.models.densenet import DenseNet
from resnet_jax.models.highway import Highway
from resnet_jax.models.unet import UNet
from tests.models.numpy_layers import blocks_of_2x2, conv, dense, normalize, relu, sigmoid, up_conv


def random_variables(model, images):
    """Variables with random values everywhere, running statistics and biases included, in float64."""
    rng = np.random.default_rng(0)
    shapes: dict[tuple, Any] = flatten_dict(jax.eval_shape(lambda: model.init(jax.random.key(0), images, train=False)))
    flat = {}
    for path, leaf in shapes.items():
        fan_in = np.prod(leaf.shape[:-1])
        positive = path[-1] in ("var", "scale")
        value = rng.uniform(0.5, 1.5, leaf.shape) if positive else rng.normal(0, fan_in**-0.5, leaf.shape)
        flat[path] = value if path[-1] != "bias" else 0.1 * value
    return unflatten_dict(flat)


def compare(model, images, reference):
    """The network's features against the reference's."""
    variables = random_variables(model, images)
    apply = jax.jit(partial(model.apply, train=False, features=True))
    outputs = apply(jax.tree.map(np.float32, variables), images)
    expected = reference(variables["params"], variables.get("batch_stats", {}), images.astype(np.float64))
    for name, value in expected.items():
        np.testing.assert_allclose(outputs[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    assert "logits" in expected


def random_images(size):
    return np.random.default_rng(1).normal(size=(2, size, size, 3)).astype(np.float32)


def test_highway():
    def reference(params, _, x):
        x = relu(conv(x, **params["stem_conv"]))
        expected = {"stem": x}
        for stage, size in enumerate((2, 1, 3), start=1):
            if stage > 1:
                x = relu(conv(blocks_of_2x2(x).max(-1), **params[f"stage{stage}_conv"]))
            for index in range(size):
                block = params[f"stage{stage}_block{index + 1:02d}"]
                transform = relu(conv(x, **block["conv1"]))
                gate = sigmoid(conv(x, **block["gate"]))
                x = transform * gate + x * (1 - gate)
            expected[f"stage{stage}"] = x
        expected["pooled"] = relu(conv(x, **params["head_conv"])).mean((1, 2))
        return expected | {"logits": dense(expected["pooled"], params["head"])}

    compare(Highway((2, 1, 3), (3, 5, 4)), random_images(12), reference)


@pytest.mark.parametrize("bias", [-1.0, -4.0])
def test_gates_start_almost_closed(bias):
    model = Highway((1, 1, 1), (3, 5, 4), gate_bias=bias)
    params = jax.jit(model.init)(jax.random.key(0), random_images(8))["params"]
    np.testing.assert_array_equal(params["stage2_block01"]["gate"]["bias"], np.full(5, bias))
    np.testing.assert_array_equal(params["stage2_block01"]["conv1"]["bias"], np.zeros(5))


@pytest.mark.parametrize(("bottleneck", "compression"), [(0, 1.0), (4, 0.5)])
def test_cifar_densenet(bottleneck, compression):
    def reference(params, stats, x):
        def norm_relu(x, *path):
            p, s = params, stats
            for name in path:
                p, s = p[name], s[name]
            return relu(normalize(x, p, s))

        x = conv(x, **params["stem_conv"])
        expected = {"stem": x}
        for stage in (1, 2, 3):
            for index in (1, 2):
                name = f"stage{stage}_block{index:02d}"
                y = conv(norm_relu(x, name, "norm1"), **params[name]["conv1"])
                if bottleneck:
                    y = conv(norm_relu(y, name, "norm2"), **params[name]["conv2"])
                x = np.concatenate([x, y], axis=-1)
            expected[f"stage{stage}"] = x
            if stage < 3:
                x = conv(norm_relu(x, f"transition{stage}_norm"), **params[f"transition{stage}_conv"])
                x = blocks_of_2x2(x).mean(-1)
        expected["pooled"] = norm_relu(x, "head_norm").mean((1, 2))
        return expected | {"logits": dense(expected["pooled"], params["head"])}

    toy = DenseNet((2, 2, 2), 3, 10, width=4, stem="cifar", bottleneck=bottleneck, compression=compression)
    compare(toy, random_images(12), reference)


@pytest.mark.parametrize("image_size", [16, 23])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_unet(image_size, batch_norm):
    compare(UNet(3, width=2, batch_norm=batch_norm), random_images(image_size), unet_reference(padded=True))


def test_unpadded_unet():
    compare(UNet(3, width=2, padded=False), random_images(188), unet_reference(padded=False))


def test_unpadded_unet_has_the_paper_s_sizes():
    model = UNet(2, padded=False)
    images = jax.ShapeDtypeStruct((1, 572, 572, 1), np.float32)
    outputs, _ = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x, features=True), images)
    sizes = {name: value.shape[1:] for name, value in outputs.items()}
    assert sizes["stage4"] == (28, 28, 1024)
    assert sizes["decoder4"] == (388, 388, 64)
    assert sizes["logits"] == (388, 388, 2)
    with pytest.raises(ValueError, match="188"):
        jax.eval_shape(lambda x: model.init(jax.random.key(0), x), jax.ShapeDtypeStruct((1, 570, 570, 1), np.float32))


def unet_reference(padded):
    def reference(params, stats, x):
        def twice(x, name):
            for i in ("1", "2"):
                x = conv(x, **params[name]["conv" + i], padding=None if padded else 0)
                if "norm" + i in params[name]:
                    x = normalize(x, params[name]["norm" + i], stats[name]["norm" + i])
                x = relu(x)
            return x

        expected = {"stem": twice(x, "stem")}
        x = expected["stem"]
        for stage in range(1, 5):
            x = expected[f"stage{stage}"] = twice(blocks_of_2x2(x).max(-1), f"stage{stage}")
        for step, skip in enumerate(("stage3", "stage2", "stage1", "stem"), start=1):
            up = up_conv(x, **params[f"decoder{step}_up"])
            skip = expected[skip]
            if padded:
                up = np.pad(up, ((0, 0), (0, skip.shape[1] - up.shape[1]), (0, skip.shape[2] - up.shape[2]), (0, 0)))
            else:
                margin = (skip.shape[1] - up.shape[1]) // 2
                skip = skip[:, margin:-margin, margin:-margin]
            x = expected[f"decoder{step}"] = twice(np.concatenate([skip, up], axis=-1), f"decoder{step}")
        return expected | {"logits": conv(x, **params["head"])}

    return reference
