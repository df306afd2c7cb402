"""Files of our own: they carry a checksum, what their network is, and the permissions of any new file."""

import os
import stat
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.models.registry import create_model
from resnet_jax.weights.formats import read_file, write_tensors
from resnet_jax.weights.pretrained import exact_variables, load_pretrained, open_weights, write_weights
from resnet_jax.weights.shapes import options_of
from tests.weights.conftest import assert_equal_trees

pytest.importorskip("safetensors")

MODEL = "resnet8_cifar"
ENDINGS = ("safetensors", "npz")
SEEN = Preprocessing(40, 48, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "bicubic")


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_flipped_bit_changes_anything_in_silence(tmp_path, ending):
    path = tmp_path / f"x.{ending}"
    write_tensors(path, {"a": np.arange(5, dtype=np.float32), "b": np.ones(2)}, {"preprocessing": '{"mean": 0.485}'})
    whole, before = path.read_bytes(), read_file(path)
    refused = 0
    for place in range(len(whole)):
        for bit in (place % 8, (place + 5) % 8):
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            try:
                after = read_file(path)
            except InputError:
                refused += 1
                continue
            for name, tensor in before.tensors.items():
                np.testing.assert_array_equal(after.tensors[name], tensor)
            assert after.facts["preprocessing"] == before.facts["preprocessing"]
    assert refused > len(whole)


@pytest.mark.parametrize("layout", ["ours", "torch"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_a_flipped_bit_of_weights_is_refused(tmp_path, random_variables, ending, layout):
    path = tmp_path / f"x.{ending}"
    write_weights(path, MODEL, random_variables(MODEL), layout=layout, preprocessing=SEEN)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"x\.{ending}: damaged"):
        load_pretrained(MODEL, path)


def test_files_without_a_checksum_are_loaded(tmp_path, random_variables):
    from safetensors.numpy import save_file

    from resnet_jax.weights.layout import OURS, to_tensors

    variables = random_variables(MODEL)
    tensors = to_tensors(variables, OURS)
    np.savez(tmp_path / "x.npz", **cast(Any, tensors))
    save_file(tensors, tmp_path / "x.safetensors", metadata={"model": MODEL})
    for ending in ENDINGS:
        assert_equal_trees(load_pretrained(MODEL, tmp_path / f"x.{ending}"), variables)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(tmp_path, ending, umask):
    before = os.umask(umask)
    try:
        write_tensors(tmp_path / f"x.{ending}", {"a": np.ones(2)})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / f"x.{ending}").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_describes_itself(tmp_path, random_variables, ending):
    path = tmp_path / f"x.{ending}"
    write_weights(path, MODEL, random_variables(MODEL), source="s", preprocessing=SEEN, class_names=list("abcdefghij"))
    weights = open_weights(MODEL, path)
    assert (weights.source, weights.preprocessing, weights.class_names) == ("s", SEEN, tuple("abcdefghij"))
    assert weights.preprocessing_from == "the file itself"
    assert weights.lines == (
        "s: images are resized to 48 pixels (bicubic), cropped to 40, mean 0.1 0.2 0.3, std 0.4 0.5 0.6; "
        "from the file itself",
    )


def test_an_npz_file_holds_nothing_but_tensors_for_other_readers(tmp_path, random_variables):
    write_weights(tmp_path / "x.npz", MODEL, random_variables(MODEL), preprocessing=SEEN)
    with np.load(tmp_path / "x.npz") as file:
        assert all(name.startswith(("params/", "batch_stats/")) for name in file.files)


@pytest.mark.parametrize(("layout", "ending"), [("ours", "safetensors"), ("torch", "npz")])
@pytest.mark.parametrize("options", [{"width": 2}, {"width": 8, "shortcut": "B", "stem": "cifar"}])
def test_a_network_with_options_is_loaded_again(tmp_path, ending, layout, options):
    model = create_model(MODEL, num_classes=3, scan=False, **options)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), variables)
    usual = create_model(MODEL)
    told = options_of(MODEL, model)
    assert told == {name: value for name, value in options.items() if value != getattr(usual, name)}
    path = tmp_path / f"x.{ending}"
    write_weights(path, MODEL, variables, layout=layout, options=told)
    weights = open_weights(MODEL, path)
    assert weights.options == told
    assert_equal_trees(exact_variables(weights, 3), variables)
    assert "head" not in load_pretrained(MODEL, path, num_classes=0)["params"]


def test_options_of_training_are_not_the_networks():
    assert options_of(MODEL, create_model(MODEL, bn_group_size=4, zero_init=True, remat="all")) == {}
