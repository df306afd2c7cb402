"""A workdir with files of another user: one line that names the file, and nothing changed."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from resnet_jax.errors import BAD_INPUT, InputError
from resnet_jax.run.train import train
from resnet_jax.runtime.ending import line_and_status
from tests.faults.toy import config

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
NOBODY = 65534


@pytest.fixture
def home(original):
    """A copy of the run where another user may go, as whom the test goes on; which itself is that user's."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    home = Path(shutil.copytree(original, place / "home"))
    for path in (home, home / "run", home / "run" / ".lock"):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    yield home
    os.seteuid(0)
    shutil.rmtree(place)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        (".lock", "run: cannot be written (Permission denied)"),
        ("config.json", "run/config.json cannot be read (Permission denied)"),
        ("metrics.jsonl", "run/metrics.jsonl: Permission denied"),
        ("checkpoints", "run/checkpoints"),
    ],
)
def test_what_cannot_be_read_is_one_line(home, name, names):
    path = home / "run" / name
    os.seteuid(0)
    os.chown(path, 0, 0)
    path.chmod(0)
    os.seteuid(NOBODY)
    with pytest.raises((InputError, OSError)) as caught:
        train(config(home))
    line, status = line_and_status(caught.value)
    assert status == BAD_INPUT
    assert line is not None
    assert "\n" not in line
    assert names in line
    assert not (home / "run" / "result.json").exists()
