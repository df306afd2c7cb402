"""Keras's ResNet-50 becomes `resnet50_v1`: against the original arithmetic, written here."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from resnet_jax.data.augment.device import normalize
from resnet_jax.errors import InputError
from resnet_jax.models.registry import create_model
from resnet_jax.weights.catalog import BY_NAME, KERAS_RESNET50
from resnet_jax.weights.keras import is_tfjs, layers, read_tfjs, to_ours
from resnet_jax.weights.pretrained import load_pretrained
from resnet_jax.weights.shapes import variable_shapes

MEAN_BGR = (103.939, 116.779, 123.68)


def original_logits(tensors, images):
    """Keras's ResNet50 as keras-applications defines it: uint8 RGB [B,H,W,3] -> logits [B,1000]."""

    def conv(x, name, strides=1, padding="VALID"):
        y = jax.lax.conv_general_dilated(
            x, tensors[f"{name}/kernel"], (strides, strides), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return y + tensors[f"{name}/bias"].reshape(1, 1, 1, -1)

    def norm(x, name):
        scale, shift, mean, var = (
            tensors[f"{name}/{part}"].reshape(1, 1, 1, -1)
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return scale * (x - mean) / jnp.sqrt(var + 1.001e-5) + shift

    def block(x, stage, letter, strides):
        name = f"{stage}{letter}_branch"
        y = jax.nn.relu(norm(conv(x, f"res{name}2a", strides), f"bn{name}2a"))
        y = jax.nn.relu(norm(conv(y, f"res{name}2b", padding="SAME"), f"bn{name}2b"))
        y = norm(conv(y, f"res{name}2c"), f"bn{name}2c")
        shortcut = norm(conv(x, f"res{name}1", strides), f"bn{name}1") if letter == "a" else x
        return jax.nn.relu(y + shortcut)

    x = images[..., ::-1].astype(jnp.float32) - jnp.array(MEAN_BGR).reshape(1, 1, 1, 3)
    x = jnp.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    x = jax.nn.relu(norm(conv(x, "conv1", 2), "bn_conv1"))
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), "VALID")
    for stage, letters in ((2, "abc"), (3, "abcd"), (4, "abcdef"), (5, "abc")):
        for letter in letters:
            x = block(x, stage, letter, 2 if letter == "a" and stage > 2 else 1)
    return x.mean(axis=(1, 2)) @ tensors["fc1000/kernel"] + tensors["fc1000/bias"][None]


def our_logits(variables, images):
    seen = BY_NAME[KERAS_RESNET50].preprocessing
    x = normalize({"image": jnp.asarray(images)}, mean=seen.mean, std=seen.std)["image"]
    return jnp.asarray(create_model("resnet50_v1").apply(variables, x, train=False))


@pytest.fixture(scope="module")
def invented():
    """Tensors of the original's names and shapes."""
    rng = np.random.default_rng(0)
    shapes = variable_shapes("resnet50_v1", None)["params"]
    tensors = {"fc1000/kernel": rng.normal(0, 0.05, (2048, 1000)), "fc1000/bias": rng.normal(size=1000)}
    for conv, _, theirs, norm in layers():
        shape = shapes
        for part in (*conv.split("/"), "kernel"):
            shape = shape[part]
        tensors[f"{theirs}/kernel"] = rng.normal(0, np.sqrt(2 / np.prod(shape.shape[:3])), shape.shape)
        tensors[f"{theirs}/bias"] = rng.normal(0, 0.2, shape.shape[-1])
        tensors[f"{norm}/gamma"] = rng.uniform(0.1, 0.4, shape.shape[-1])
        tensors[f"{norm}/beta"] = rng.normal(0, 0.2, shape.shape[-1])
        tensors[f"{norm}/moving_mean"] = rng.normal(0, 0.2, shape.shape[-1])
        # Small ones too, where the difference of the epsilons counts.
        tensors[f"{norm}/moving_variance"] = rng.uniform(0.5, 1.5, shape.shape[-1])
    tensors["bn_conv1/moving_variance"] *= 1e4
    tensors["bn5c_branch2c/moving_variance"] *= 1e-5
    return {name: np.float32(tensor) for name, tensor in tensors.items()}


def write_tfjs(folder, tensors, shards=3):
    folder.mkdir()
    data = b"".join(tensor.tobytes() for tensor in tensors.values())
    size = -(-len(data) // shards)
    names = [f"group1-shard{n + 1}of{shards}.bin" for n in range(shards)]
    for n, name in enumerate(names):
        (folder / name).write_bytes(data[n * size : (n + 1) * size])
    weights = [{"name": n, "shape": list(t.shape), "dtype": "float32"} for n, t in tensors.items()]
    (folder / "model.json").write_text(json.dumps({"weightsManifest": [{"paths": names, "weights": weights}]}))
    return folder


def test_shards_are_read_as_they_were_written(tmp_path):
    tensors = {"a/kernel": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "a/bias": np.ones(5, np.float32)}
    folder = write_tfjs(tmp_path / "x", tensors)
    assert is_tfjs(folder)
    assert is_tfjs(folder / "model.json")
    assert not is_tfjs(tmp_path)
    for source in (folder, folder / "model.json"):
        read = read_tfjs(source)
        assert read.keys() == tensors.keys()
        for name in tensors:
            np.testing.assert_array_equal(read[name], tensors[name])


@pytest.mark.slow
def test_the_conversion_is_exact(invented):
    ours = to_ours(invented)
    variables = unflatten_dict({tuple(name.split("/")): tensor for name, tensor in ours.items()})
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    theirs, logits = original_logits(invented, images), our_logits(variables, images)
    np.testing.assert_allclose(logits, theirs, atol=1e-3, rtol=1e-4)
    assert float(jnp.abs(theirs).max()) > 1


def test_without_the_epsilons_difference_it_would_not_be(invented):
    ours = to_ours(invented)
    variance = invented["bn5c_branch2c/moving_variance"].astype(np.float64)
    stored = ours["batch_stats/stage4_block03/norm3/var"].astype(np.float64)
    np.testing.assert_allclose(stored + 1e-5, variance + 1.001e-5, rtol=1e-6)
    assert np.abs((variance + 1e-5) / (variance + 1.001e-5) - 1).max() > 3e-4


def test_what_is_not_this_network_is_refused(tmp_path, invented):
    with pytest.raises(InputError, match="not Keras's ResNet-50: there is no bn4f_branch2b/gamma"):
        to_ours({name: t for name, t in invented.items() if name != "bn4f_branch2b/gamma"})
    with pytest.raises(InputError, match="not Keras's ResNet-50: 1 unknown tensors, extra"):
        to_ours(invented | {"extra": np.zeros(1)})
    folder = write_tfjs(tmp_path / "x", {"a": np.ones(9, np.float32)})
    with pytest.raises(InputError, match=r"--weights_key=ema: .*x holds one set of weights"):
        load_pretrained("resnet50_v1", tmp_path / "x", weights_key="ema")
    with pytest.raises(InputError, match="x holds weights of resnet50_v1, not of resnet50"):
        load_pretrained("resnet50", folder)
    with pytest.raises(InputError, match="not Keras's ResNet-50: there is no fc1000/kernel"):
        load_pretrained("resnet50_v1", folder)


def test_damaged_files_are_named(tmp_path):
    folder = write_tfjs(tmp_path / "x", {"a": np.ones(9, np.float32)})
    (folder / "group1-shard3of3.bin").write_bytes(b"")
    with pytest.raises(InputError, match=r"model\.json: damaged, or shards beside it are cut short"):
        read_tfjs(folder)
    (folder / "group1-shard3of3.bin").unlink()
    with pytest.raises(InputError, match=r"group1-shard3of3\.bin: No such file"):
        read_tfjs(folder)
    (folder / "model.json").write_text('{"weightsManifest": [{"paths": ["../x.bin"], "weights": []}]}')
    with pytest.raises(InputError, match="names files outside its folder"):
        read_tfjs(folder)
    (folder / "model.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        read_tfjs(folder)


def test_the_real_weights_give_the_original_logits(keras_resnet50, real_images):
    from resnet_jax.data.augment.host import resize_and_center_crop
    from resnet_jax.data.decode import decode_image

    files = sorted(real_images.glob("*/*.JPEG"))[::125]
    images = np.stack([resize_and_center_crop(decode_image(f.read_bytes(), str(f)), 224, 256) for f in files])
    theirs = original_logits(read_tfjs(keras_resnet50), images)
    logits = our_logits(load_pretrained("resnet50_v1", keras_resnet50), images)
    assert float(jnp.abs(logits - theirs).max()) < 1e-3
