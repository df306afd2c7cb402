"""The degradation of plain networks (He et al. 2015, section 4.2): deeper ones end with a higher training error, deeper
residual networks do not. The study is a set of ordinary runs, one for each network and seed.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from resnet_jax.config.checks import check_config
from resnet_jax.config.options import Config
from resnet_jax.errors import InputError, NonFiniteError
from resnet_jax.models.registry import create_model
from resnet_jax.recipes import CIFAR
from resnet_jax.run.train import train
from resnet_jax.studies.final_training_error import measure_training_error
from resnet_jax.training.progress import say

# From this depth on, the paper starts with 400 steps at a tenth of the learning rate.
DEEP = 110

# What each budget changes of the paper's training. The short one is cut to 2.9 of its 164 epochs. A schedule of steps
# would end after an epoch at the full learning rate, where depth is a handicap even with
# shortcuts; hence a warm-up and a linear fall, and a quarter of the batch at half the rate for more updates, the same
# for every network. Momentum, decay, crops and flips are the paper's.
BUDGETS: dict[str, dict[str, Any]] = {
    "paper": {"log_every": 100, "eval_every": 640},
    "short": {
        "steps": 4500,
        "batch_size": 32,
        "reference_batch_size": 64,
        "schedule": "linear",
        "milestones": (),
        "warmup_fraction": 0.2,
        "warmup": "linear",
        "warmup_learning_rate": 0.0,
        "log_every": 30,
        "eval_every": 750,
        "eval_batch_size": 250,
    },
}
EVALUATIONS = 8  # of a training whose length is given


def network_names(kinds: Sequence[str], depths: Sequence[int]) -> list[str]:
    """Return the networks of a study, "plain20_cifar", …: every kind at every depth, the shallow ones first.

    Raises:
        InputError: a network that does not exist.
    """
    names = [f"{kind}{depth}_cifar" for depth in depths for kind in kinds]
    for name in names:
        create_model(name)
    return names


def kind_and_depth(name: str) -> tuple[str, int]:
    """Split a name: ("plain", 20) of "plain20_cifar".

    Raises:
        InputError: not the name of such a network.
    """
    found = re.fullmatch(r"([a-z]+)(\d+)_cifar", name)
    if not found:
        raise InputError(f"{name} is not a network of the study; they are named like plain20_cifar")
    return found[1], int(found[2])


def run_config(name: str, seed: int, workdir: Path, budget: str, **options: Any) -> Config:
    """Return the config of one run of the study, in the folder WORKDIR/NAME-seedK.

    Args:
        name: the network.
        seed: K.
        workdir: folder of the study.
        budget: a key of `BUDGETS`.
        **options: any of `Config`; they win over the budget, and that over the recipe.
    """
    recipe = "he2015_deep" if kind_and_depth(name)[1] >= DEEP else "he2015"
    settings: dict[str, Any] = {"dataset": "cifar10", "image_size": 0, **CIFAR[recipe].settings, **BUDGETS[budget]}
    if options.get("steps"):
        settings["eval_every"] = max(1, options["steps"] // EVALUATIONS)
    return Config(
        **(settings | options | {"model": name, "recipe": recipe, "seed": seed}),
        workdir=str(workdir / f"{name}-seed{seed}"),
    )


def train_all(configs: Sequence[Config], after_each: Callable[[], object]) -> None:
    """Train, or continue, every run in turn, and measure its final training error; finished ones are left as they are.

    A run that diverges does not keep the others from training.

    Args:
        configs: of the runs.
        after_each: called when a run has ended, or was stopped.

    Raises:
        InputError: something the user gave cannot be used.
        InterruptedRunError: a signal asked the run to stop; the same command continues from there.
        NonFiniteError: some of the runs diverged; the others are finished.
    """
    for config in configs:  # before anything is written
        check_config(config)
    diverged = []
    for number, config in enumerate(configs, start=1):
        say(f"{number} of {len(configs)}: {config.workdir}")
        try:
            train(config)
            measure_training_error(Path(config.workdir))
        except NonFiniteError as error:
            say(f"{config.workdir}: {error}")
            diverged.append(Path(config.workdir).name)
        finally:
            after_each()
    if diverged:
        raise NonFiniteError(f"diverged: {', '.join(diverged)}; the other runs are finished")
