"""A run that diverges stops, names the step, and keeps its last good checkpoint."""

import jax
import numpy as np
import pytest

import resnet_jax
from tests.faults.processes import TOY, whole


@pytest.mark.slow
def test_a_non_finite_step_is_named_and_never_becomes_a_checkpoint(command, tmp_path):
    diverging = ["--learning_rate=1e38", "--warmup_fraction=0.5", "--checkpoint_every=1"]
    status, output = command("quickstart", f"--workdir={tmp_path}", *TOY, *diverging)
    assert status == 3, output
    assert "is not finite" in output
    step = int(output.rsplit("error: step ", 1)[1].split(":")[0])
    assert whole(tmp_path)[-1] == step - 1
    _, _, variables = resnet_jax.restore_run(tmp_path, step - 1)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))
    assert not (tmp_path / "result.json").exists()
