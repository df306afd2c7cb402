"""What tests of runs share: a finished run, whose weights others start from."""

from dataclasses import replace

import pytest

from resnet_jax.run.train import train
from tests.run.test_train import TOY


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> str:
    """The folder of a run to start from."""
    workdir = str(tmp_path_factory.mktemp("weights"))
    train(replace(TOY, workdir=workdir))
    return workdir
