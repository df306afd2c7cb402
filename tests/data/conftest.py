from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.real_data import real_folder


@pytest.fixture(scope="session")
def real_data() -> Path:
    return real_folder("real data")


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
