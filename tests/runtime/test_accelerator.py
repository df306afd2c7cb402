"""A machine whose accelerator JAX does not see is told of it; --require_accelerator refuses a CPU."""

import jax
import pytest

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError
from resnet_jax.run.train import train
from resnet_jax.runtime import accelerator
from resnet_jax.runtime.accelerator import check_accelerator


@pytest.fixture
def unseen(tmp_path, monkeypatch):
    """A machine with a GPU of which JAX, free to choose, has no plugin."""
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(accelerator, "ACCELERATORS", {str(tmp_path / "nvidia0"): ("an NVIDIA GPU", "jax[cuda13]")})
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)


def test_a_gpu_without_a_plugin_is_named_with_its_remedy(unseen, monkeypatch):
    line = check_accelerator(required=False)
    assert "an NVIDIA GPU" in line
    assert "pip install 'jax[cuda13]'" in line
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert check_accelerator(required=False) == ""


def test_a_machine_without_one_is_told_nothing(monkeypatch):
    monkeypatch.setattr(accelerator, "ACCELERATORS", {})
    assert check_accelerator(required=False) == ""
    with pytest.raises(InputError, match="start it on a machine that has one, or leave the option out"):
        check_accelerator(required=True)


def test_an_accelerator_in_use_is_enough(unseen, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert check_accelerator(required=True) == ""


def test_a_training_that_requires_one_is_refused_before_its_folder_is_made(unseen, tmp_path):
    config = Config(model="resnet8_cifar", dataset="digits", require_accelerator=True, workdir=str(tmp_path / "run"))
    with pytest.raises(
        InputError, match=r"--require_accelerator: JAX has CPUs alone here; pip install 'jax\[cuda13\]'"
    ):
        train(config)
    assert not (tmp_path / "run").exists()
