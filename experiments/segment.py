"""Train a network that gives every pixel a class, on pictures with masks.

    python -m experiments.segment --data_dir=ROOT --model=unet_resnet18
    python -m experiments.segment --data_dir=ROOT --model=unet_resnet50 --weights=FILE_HUB_ID_OR_RUN --recipe=frozen
    python -m experiments.segment --data_dir=ROOT --model=fcn_resnet50 --colors=FILE --crop_size 256 256

ROOT holds train/images/*.jpg and train/masks/*.png of the same names, and the same in val. Networks are unet_NAME and
fcn_NAME with any classifier of experiments.models as NAME, and unet. --weights are the encoder's, or of the whole
network; the recipe is then `finetune`, if none is named. The same command again continues the run, and the report is
WORKDIR/report.html.
"""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from experiments.finetune import refuse_weights_from_scratch, report_run, with_init_from
from resnet_jax.cli import is_given, parse_config, run_command
from resnet_jax.config.options import Config
from resnet_jax.models.registry import create_model
from resnet_jax.recipes import SEGMENTATION
from resnet_jax.run.train import train

FAMILY = "unet_resnet{depth}"
DEFAULTS = Config(model="unet_resnet18", recipe="scratch", dataset="masks", image_size=0)


def main(argv: Sequence[str]) -> None:
    """Run the training of a command line, and write its report."""
    command = shlex.join(["python", "-m", "experiments.segment", *argv])
    argv = with_init_from(argv)
    config = parse_config(argv, "segment", __doc__, defaults_of(argv), recipes=SEGMENTATION, family=FAMILY)
    refuse_weights_from_scratch(config)
    if not is_given(argv, "skips") and not hasattr(create_model(config.model), "skips"):
        config = replace(config, skips="")  # those of the recipe, which are for U-Nets on a backbone
    if train(config):
        report_run(config, command)


def defaults_of(argv: Sequence[str]) -> Config:
    """Return the defaults of a command line: with trained weights the recipe `finetune`."""
    return replace(DEFAULTS, recipe="finetune") if is_given(argv, "init_from") else DEFAULTS


if __name__ == "__main__":
    run_command(main)
