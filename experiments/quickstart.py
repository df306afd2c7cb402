"""Train a small ResNet on handwritten digits: real images that come with scikit-learn, in about a minute on two cores.

    python -m experiments.quickstart

It is the loop of every other experiment. Besides the run's folder it draws a grid of predictions.
"""

from collections.abc import Sequence
from pathlib import Path

from resnet_jax.cli import parse_config, run_command
from resnet_jax.config import Config
from resnet_jax.predict import draw_test_predictions
from resnet_jax.run import train

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


if __name__ == "__main__":
    run_command(main)
