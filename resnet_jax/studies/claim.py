"""A training of ours, with the published result that it should reproduce."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from resnet_jax.config.options import Config
from resnet_jax.recipes import CIFAR, IMAGENET


@dataclass(frozen=True)
class Claim:
    """One line of a published table.

    Attributes:
        config: the training; any seed.
        command: the same as a command line.
        error: published top-1 error in percent; None where nothing comparable is published.
        tolerance: how far ours may be from it, in points.
        seeds: number of runs that the claim takes.
        source: where it is published.
        over: the statistic over several seeds, the paper's own choice.
        holds: "at most": ours may be lower. "about": neither lower nor higher. "at least": in the paper the training
            fails, and ours must fail too.
        protocol: of the evaluation: "own" as at the end of the run, or one of `experiments.evaluate`.
        metric: "top1", or "ema_top1" for the average of the weights.
        data: what config.json must say of the images where the name of the data set does not tell: of folders.
    """

    config: Config
    command: str
    error: float | None
    tolerance: float
    seeds: int
    source: str
    over: Literal["mean", "median"] = "mean"
    holds: Literal["at most", "about", "at least"] = "at most"
    protocol: str = "own"
    metric: str = "top1"
    data: Mapping[str, Any] = field(default_factory=dict)


def cifar_claim(
    model: str, recipe: str, error: float | None, *, options: dict[str, Any] | None = None, **claim: Any
) -> Claim:
    """Create a claim about `experiments.cifar`; `options` are further ones of the command, the rest is `Claim`'s."""
    base: dict[str, Any] = {"dataset": "cifar10", "image_size": 0, **CIFAR[recipe].settings}
    return _claim("cifar", base, model, recipe, options or {}, error, claim)


def imagenet_claim(
    model: str, recipe: str, error: float | None, *, options: dict[str, Any] | None = None, **claim: Any
) -> Claim:
    """Create a claim about `experiments.imagenet`, likewise."""
    base: dict[str, Any] = {"dataset": "imagenet2012", "image_size": 224, **IMAGENET[recipe].settings}
    return _claim("imagenet", base, model, recipe, options or {}, error, claim)


def _claim(
    experiment: str,
    base: dict[str, Any],
    model: str,
    recipe: str,
    options: dict[str, Any],
    error: float | None,
    claim: dict[str, Any],
) -> Claim:
    named: dict[str, Any] = {"model": model, "recipe": recipe, **options}
    flags = " ".join(f"--{name}={value}" for name, value in named.items())
    return Claim(
        config=Config(**(base | named)), command=f"python -m experiments.{experiment} {flags}", error=error, **claim
    )
