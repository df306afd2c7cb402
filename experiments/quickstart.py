"""Train a small ResNet on handwritten digits: real images that come with the package, in about a minute on two cores.

    python -m experiments.quickstart

It runs the same training loop as every other experiment, and draws a grid of predictions in the run's folder.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from resnet_jax.analysis.plots.images import draw_predictions
from resnet_jax.cli import is_given, parse_config, run_command
from resnet_jax.config.options import Config
from resnet_jax.data.plain_images import network_input
from resnet_jax.evaluation.image_set import image_set, open_set
from resnet_jax.inference.predict import probabilities
from resnet_jax.inference.trained import trained_from_run
from resnet_jax.run.train import train
from resnet_jax.runtime.distributed import is_first_process

DEFAULTS = Config(
    model="resnet8_cifar",
    workdir="runs/quickstart",
    dataset="digits",
    image_size=16,
    crop_padding=2,
    flip="none",  # a mirrored 2 is not a digit
    batch_size=64,
    epochs=15.0,
    reference_batch_size=64,
    learning_rate=0.1,
    nesterov=True,
    weight_decay=5e-4,
    schedule="linear",
    warmup_fraction=0.2,
    log_every=20,
)


def main(argv: Sequence[str]) -> None:
    """Train, then draw the predictions on held-out images."""
    config = parse_config(argv, "quickstart", __doc__, DEFAULTS, recipes={}, family="resnet{depth}_cifar")
    if config.optimizer != DEFAULTS.optimizer and not is_given(argv, "nesterov"):
        config = replace(config, nesterov=False)
    path = Path(config.workdir) / "predictions.png"
    drawn = path.exists()  # read before training, so that all processes of a run agree
    if not train(config):  # --dry_run, --find_rate or --find_batch
        return
    if not drawn:
        draw_test_predictions(config.workdir, path)
    print(f"look at {path}")


def draw_test_predictions(workdir: str | Path, path: Path, count: int = 32) -> None:
    """Draw the first test images of a run, each with the network's prediction."""
    trained = trained_from_run(workdir)
    source = open_set(image_set(trained), trained, trained.preprocessing.image_size)
    examples = [source[i] for i in range(min(count, len(source)))]
    images = np.stack([network_input(example, trained.preprocessing) for example in examples])
    p = probabilities(trained, images)
    names = source.class_names
    if not is_first_process():  # all processes restore and compute, one writes
        return
    draw_predictions(
        images,
        [names[example.label] for example in examples],
        [names[k] for k in p.argmax(axis=1)],
        [float(row.max()) for row in p],
        path,
    )


if __name__ == "__main__":
    run_command(main)
