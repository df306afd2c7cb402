"""Networks of every option with few blocks, which a quick run can afford to trace; --long traces them in full."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest

from resnet_jax.models.registry import create_model


def network(name: str, blocks: int | None, **options: Any) -> Any:
    """The network of that name with at most `blocks` blocks a stage; None is as many as it has."""
    model: Any = create_model(name, **options)
    if blocks is None:
        return model
    if hasattr(model, "stage_sizes"):
        return model.clone(stage_sizes=fewer(model.stage_sizes, blocks))
    if hasattr(model, "backbone"):
        sizes = fewer(model.backbone.keywords["stage_sizes"], blocks)
        return model.clone(backbone=partial(model.backbone, stage_sizes=sizes))
    return model


def fewer(sizes: Iterable[int], blocks: int) -> tuple[int, ...]:
    return tuple(min(size, blocks) for size in sizes)


def short_and_full(names: Iterable[str], blocks: int = 2) -> list[Any]:
    """Values of ("name", "blocks"): each network in full, with --long, and the different ones among them in short.

    In short, networks are alike that differ in depth alone: one stands for all of them. Those that are short in full
    come once.
    """
    full, short = [], {}
    for name in names:
        shortened = repr(network(name, blocks))
        short.setdefault(shortened, pytest.param(name, blocks, id=f"{name}-short"))
        if repr(network(name, None)) == shortened:
            short[shortened] = pytest.param(name, None, id=name)
        else:
            full.append(pytest.param(name, None, id=name, marks=[pytest.mark.slow, pytest.mark.long]))
    return [*short.values(), *full]
