"""A training on photographs in this process, in seconds: four steps, evaluated and saved after each second one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resnet_jax.config.options import Config

TOY = Config(
    model="resnet8_cifar",
    width=2,
    dataset="folder",
    image_size=8,
    batch_size=8,
    steps=4,
    learning_rate=0.01,
    reference_batch_size=0,
    schedule="linear",
    log_every=1,
    eval_every=2,
    num_workers=0,
)


def photographs(home: Path) -> None:
    """Write six pictures of each of two classes to train/ and val/ of HOME/photographs."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for kind, shade in (("dark", 40), ("light", 200)):
            (home / "photographs" / split / kind).mkdir(parents=True)
            for index in range(6):
                pixels = (shade + rng.integers(-30, 30, (12, 10, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(home / "photographs" / split / kind / f"{index}.png")


def config(home: Path, **options: Any) -> Config:
    """Return the config of a run in HOME/run."""
    return replace(TOY, data_dir=str(home / "photographs"), workdir=str(home / "run"), **options)
