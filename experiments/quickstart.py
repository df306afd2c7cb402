"""Train a small ResNet on handwritten digits: real images that come with scikit-learn, in about a minute on two cores.

    python -m experiments.quickstart

It is the loop of every other experiment. Besides the run's folder it draws a grid of predictions.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from resnet_jax.analysis.plots.images import draw_predictions
from resnet_jax.cli import parse_config, run_command
from resnet_jax.config.options import Config
from resnet_jax.data.sources.load import load_source
from resnet_jax.inference.predict import probabilities
from resnet_jax.inference.restore import restore_run
from resnet_jax.run.train import train

DEFAULTS = Config(
    model="resnet8_cifar",
    workdir="runs/quickstart",
    dataset="digits",
    image_size=16,
    crop_padding=2,
    flip="none",  # a mirrored 2 is no digit
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
    """Train as the command line says, then draw what the network makes of held-out images."""
    config = parse_config(argv, "quickstart", __doc__, DEFAULTS, recipes={}, family="resnet{depth}_cifar")
    path = Path(config.workdir) / "predictions.png"
    drawn = path.exists()  # asked before the processes of the run come apart
    train(config)
    if not drawn:
        draw_test_predictions(config.workdir, path)
    print(f"look at {path}")


def draw_test_predictions(workdir: str | Path, path: Path, count: int = 32) -> None:
    """A grid of the first test images of a run on a set of small images, with what the network takes them for."""
    config, model, variables = restore_run(workdir)
    source = load_source(config.dataset, "val", config.data_dir or None, config.image_size)
    examples = [source[i] for i in range(min(count, len(source)))]
    images = np.stack([example.image for example in examples])
    p = probabilities(model, variables, images, config)
    names = source.class_names
    if jax.process_index() > 0:  # all processes are needed to restore and compute, one to write
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
