"""The public names of the package: each resolves, and none is loaded before it is used."""

import subprocess
import sys

import pytest

import resnet_jax


@pytest.mark.parametrize("name", resnet_jax.__all__)
def test_a_public_name_resolves(name):
    # A function of the name of its room is the room itself, once that is imported.
    assert getattr(resnet_jax, name).__name__ in (name, f"resnet_jax.{name}")
    assert callable(getattr(resnet_jax, name))
    assert name in dir(resnet_jax)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'resnet_jax' has no attribute 'Trainer'"):
        resnet_jax.Trainer  # noqa: B018


def test_the_bare_import_is_light():
    command = "import sys, resnet_jax; print(*sorted({'jax', 'numpy', 'flax', 'tyro'} & {*sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", command], check=True, capture_output=True, text=True).stdout
    assert loaded.strip() == ""
