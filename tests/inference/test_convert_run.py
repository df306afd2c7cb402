"""Conversion of a run's folder: its network's options travel with the weights."""

from typing import Any

import numpy as np
import pytest

from resnet_jax.inference.convert import convert
from resnet_jax.inference.restore import restore_run
from resnet_jax.inference.trained import load_trained
from resnet_jax.run.build import build_run
from resnet_jax.run.state import checkpoint_content, first_state
from resnet_jax.training.metrics import zero_sums
from resnet_jax.workdir import checkpoint, folder
from tests.faults.toy import config, photographs


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The folder of a run of `--width=2` after its first checkpoint, of the state before its first step."""
    home = tmp_path_factory.mktemp("home")
    photographs(home)
    run = build_run(config(home))
    (home / "run").mkdir()
    facts = {"image_size": run.data.image_size, "class_names": run.data.class_names}
    folder.write_config(home / "run", run.config, facts)
    with checkpoint.open_manager(home / "run" / "checkpoints") as manager:
        checkpoint.save(manager, 0, checkpoint_content(run, first_state(run), zero_sums()))
    return home / "run"


@pytest.mark.slow
@pytest.mark.parametrize("to", ["ours", "torch"])
def test_a_run_of_another_width_is_loaded_again(workdir, tmp_path, to):
    name, _ = convert(str(workdir), tmp_path / "weights.npz", to=to)
    trained = load_trained(model=name, weights=tmp_path / "weights.npz")
    assert trained.model.width == 2
    assert trained.class_names == ("dark", "light")
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    _, model, variables = restore_run(workdir)
    expected: Any = model.apply(variables, images, train=False)
    logits: Any = trained.model.apply(trained.variables, images, train=False)
    np.testing.assert_array_equal(logits, expected)
