"""The notebooks run from top to bottom on toy runs, and the committed ones show real figures of the same cells."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

from resnet_jax.models.registry import create_model
from resnet_jax.weights.pretrained import write_weights

from .analysis.toys import random_variables

ROOT = Path(__file__).parents[1]
NAMES = ("01_why_skip_connections", "02_inside_a_trained_resnet", "03_lesions_and_paths", "04_train_your_own")
LARGEST = 1_500_000  # bytes of an .ipynb
ABSOLUTE = re.compile(r"(?<![\w.:/~])/(?:home|Users|root|tmp|work|mnt|opt|usr|var|data)/")

DEEPER = ("plain14_cifar", "resnet14_cifar")  # two blocks of one shape, which can change places

# What stands in the cell of parameters instead: runs of a few steps, and as little of everything as there can be.
TOYS = {
    "01_why_skip_connections": {
        "study": "study",
        "dataset": "digits",
        "data_dir": None,
        "depths": (8,),
        "num_images": 4,
        "num_loss_images": 8,
        "num_points": 3,
    },
    "02_inside_a_trained_resnet": {
        "network": {"workdir": "study/resnet8_cifar-seed0"},
        "class_words": "",
        "photographs": [],
    },
    "03_lesions_and_paths": {
        "networks": {name: {"model": name, "weights": f"{name}.safetensors"} for name in DEEPER},
        "most_blocks": "resnet14_cifar",
        "dataset": "digits",
        "data_dir": None,
        "num_images": 16,
        "numbers": (1, 2),
        "samples": 1,
    },
    "04_train_your_own": {
        "digits_epochs": 0.2,
        "folder": "folder",
        "folder_model": {"model": "resnet8_cifar", "width": 2, "image_size": 16, "num_workers": 0},
        "folder_epochs": 1.0,
        "pretrained": {"model": DEEPER[1], "init_from": f"{DEEPER[1]}.safetensors", "image_size": 32, "num_workers": 0},
        "folder_batch_size": 4,
    },
}


# One device, whatever this process has; this checkout, whatever is installed.
ENVIRONMENT = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}


def notebook(name: str, suffix: str) -> Any:
    return jupytext.read(ROOT / "notebooks" / f"{name}{suffix}")


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> Path:
    """A folder with a study of one tiny run, weights of two untrained networks, and pictures of two classes."""
    place = tmp_path_factory.mktemp("notebooks")
    study = [f"--workdir={place}/study", "--kinds=resnet", "--depths=8", "--width=2"]
    study += ["--dataset=digits", "--steps=1", "--batch_size=8"]
    subprocess.run([sys.executable, "-m", "experiments.degradation", *study], env=ENVIRONMENT, cwd=ROOT, check=True)
    for name in DEEPER:
        write_weights(place / f"{name}.safetensors", name, random_variables(create_model(name)))
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for low, name in enumerate(("dark", "light")):
            (place / "folder" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(128 * low, 128 * low + 128, (20, 24, 3), np.uint8)
                Image.fromarray(pixels).save(place / "folder" / split / name / f"{number}.png")
    return place


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_on_toys(name, toys):
    copy = notebook(name, ".py")
    (parameters,) = [cell for cell in copy.cells if "parameters" in cell.metadata.get("tags", ())]
    settings = {**TOYS[name], "runs" if name.startswith("04") else "figures": Path("runs")}
    assigned = set(re.findall(r"^([a-z_, ]+) = ", parameters.source, re.MULTILINE))
    assert {one for group in assigned for one in group.split(", ")} == set(settings)
    parameters.source = "\n".join(f"{key} = {value!r}" for key, value in settings.items()).replace("PosixPath", "Path")
    environment = {**ENVIRONMENT, "IPYTHONDIR": str(toys / "ipython")}
    NotebookClient(copy, timeout=300, resources={"metadata": {"path": str(toys)}}).execute(env=environment)
    assert any("image/png" in output.get("data", {}) for cell in copy.cells for output in cell.get("outputs", ()))


@pytest.mark.parametrize("name", NAMES)
def test_a_committed_notebook_is_its_script_with_real_figures(name):
    script, committed = notebook(name, ".py"), notebook(name, ".ipynb")
    assert [(cell.cell_type, cell.source) for cell in committed.cells] == [
        (cell.cell_type, cell.source) for cell in script.cells
    ]
    nbformat.validate(committed)
    path = ROOT / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size < LARGEST
    outputs = [output for cell in committed.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.output_type == "error"]
    texts = [str({**o.get("data", {}), "image/png": ""}) + o.get("text", "") for o in outputs]
    assert not [text for text in (*texts, *(cell.source for cell in committed.cells)) if ABSOLUTE.search(text)]
    figures = [base64.b64decode(o.data["image/png"]) for o in outputs if "image/png" in o.get("data", {})]
    assert len(figures) >= 3
    assert all(len(figure) > 2_000 for figure in figures)


def test_every_notebook_is_tested():
    assert sorted(path.stem for path in (ROOT / "notebooks").glob("*.py")) == sorted(NAMES) == sorted(TOYS)
