"""Real images and weights, where they are at hand."""

import os
from pathlib import Path

import pytest

REAL = Path(os.environ.get("RESNET_JAX_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def real_folder(what: str, *parts: str) -> Path:
    """A folder of the real data; the test is skipped where it is absent, with a line that names `what` is missing."""
    folder = REAL.joinpath(*parts)
    if not folder.is_dir():
        pytest.skip(f"no {what} at {folder} (set RESNET_JAX_TEST_DATA)")
    return folder
