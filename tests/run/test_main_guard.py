"""A script without `if __name__ == "__main__":`, in a process of its own as its workers import it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

CALLS = {
    "a run": """
import resnet_jax
resnet_jax.train(resnet_jax.Config(model="resnet8_cifar", width=2, dataset="folder", data_dir=ROOT, image_size=8,
    batch_size=8, reference_batch_size=0, steps=1, num_workers=1, workdir=f"{ROOT}/run"))
""",
    "pictures alone": """
from resnet_jax.data.sources.load import load_source
from resnet_jax.data.prefetch import read_ahead

class Labels:
    def __init__(self):
        self.source = load_source("folder", "train", ROOT, 0)

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        return {"label": self.source[index].label}

print([part["label"] for part in read_ahead(Labels(), 1)])
""",
}


@pytest.mark.parametrize("call", [pytest.param("a run", marks=pytest.mark.slow), "pictures alone"])
def test_a_script_without_the_guard_is_told_of_it(tmp_path, call):
    for name in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (10, 9)).save(tmp_path / name / "0.png")
    script = tmp_path / "script.py"
    script.write_text(f"ROOT = {str(tmp_path)!r}\n{CALLS[call]}")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "XLA_FLAGS": ""}
    done = subprocess.run([sys.executable, str(script)], env=environment, text=True, capture_output=True, timeout=240)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if "errors.InputError: " in line]
    child, parent = (line.partition("InputError: ")[2] for line in errors)
    assert child.startswith("a data worker process runs the script again")
    assert parent.startswith("a data worker process died")
    for line in (child, parent):
        assert 'put what a script of your own does under if __name__ == "__main__":' in line
