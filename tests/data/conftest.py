import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REAL = Path(os.environ.get("RESNET_JAX_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"no real data at {REAL} (set RESNET_JAX_TEST_DATA)")
    return REAL


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[[dict[str, int]], Path]:
    """Writes SPLIT/CLASS/n.png from {"SPLIT/CLASS": how many}; all pixels of the k-th image written are k."""

    def write(counts: dict[str, int]) -> Path:
        number = 0
        for name, count in counts.items():
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            for k in range(count):
                Image.fromarray(np.full((6, 5, 3), number, np.uint8)).save(tmp_path / name / f"{k}.png")
                number += 1
        return tmp_path

    return write
