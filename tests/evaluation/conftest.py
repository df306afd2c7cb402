"""A finished run on a folder whose classes and files have odd names, and the page of its report."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageOps

from experiments import report
from resnet_jax.config.options import Config
from resnet_jax.run.train import train

CLASSES = ("<b>ants & bees", '"quo\'ted"')
ODD_FILE = "5 <script>alert(1)</script> & 'x'\".png".replace("/", "")
TOY = Config(
    model="resnet8_cifar",
    width=2,
    dataset="folder",
    image_size=16,
    batch_size=8,
    steps=4,
    learning_rate=0.05,
    reference_batch_size=0,
    schedule="linear",
    log_every=2,
    num_workers=0,
)


def photograph(rng):
    shades = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(shades).resize((48, 40), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def odd_run(tmp_path_factory):
    """The folder of the run; the validation set holds a mirrored training image."""
    root = tmp_path_factory.mktemp("odd names")
    rng = np.random.default_rng(0)
    for name in CLASSES:
        for split, count in (("train", 8), ("val", 5)):
            (root / "data" / split / name).mkdir(parents=True)
            for number in range(count):
                photograph(rng).save(root / "data" / split / name / f"{number}.png")
    copied = Image.open(root / "data" / "train" / CLASSES[0] / "3.png")
    ImageOps.mirror(copied).resize((60, 50)).save(root / "data" / "val" / CLASSES[1] / ODD_FILE)
    train(replace(TOY, data_dir=str(root / "data"), workdir=str(root / "run")))
    return root / "run"


@pytest.fixture(scope="session")
def odd_page(odd_run):
    """The page of the run's report."""
    report.main([f"--workdir={odd_run}", "--num_workers=0"])
    return odd_run / "report.html"
