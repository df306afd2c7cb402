"""Frozen parameters: which they are, and an optimizer that leaves them alone."""

import math
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import optax

from resnet_jax.errors import InputError
from resnet_jax.optim.param_paths import BLOCK, STEM, by_path, layer_of, map_with_path

IsFrozen = Callable[[str], bool]


def frozen_by(patterns: str) -> IsFrozen:
    """Return the function from a parameter's path to whether it is frozen.

    Args:
        patterns: a range of layers such as "stem..stage3" or "stage1..stage3_block02", ends included; or patterns of
            paths or of the modules above them, "stage1_*" or "*/norm2"; several with commas between. Empty: nothing.

    Raises:
        InputError: an end of a range is not a layer.
    """
    tests = [_test_of(part) for part in _parts(patterns)]
    return lambda path: any(test(path) for test in tests)


def _parts(patterns: str) -> list[str]:
    return [part.strip() for part in patterns.split(",") if part.strip()]


def _test_of(part: str) -> IsFrozen:
    return _in_range(part) if ".." in part else partial(_is_below, part)


def _is_below(pattern: str, path: str) -> bool:
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}/*")


def _in_range(part: str) -> IsFrozen:
    first, _, last = part.partition("..")
    for name in (first, last):
        if name != "stem" and not BLOCK.fullmatch(name):
            raise InputError(f"--freeze={part}: {name!r} is not a layer; take stem, stage1, …, or stage1_block01, …")
    low, high = layer_of(first), layer_of(last)
    assert low is not None
    assert high is not None
    if high != STEM and high[1] == 0:  # a whole stage, with all its blocks
        high = (high[0], math.inf)

    def test(path: str) -> bool:
        layer = layer_of(path)
        return layer is not None and low <= layer <= high

    return test


def check_freeze(patterns: str, params: Any) -> None:
    """Refuse patterns of which one freezes nothing, or all freeze everything.

    Raises:
        InputError: they do.
    """
    paths = list(by_path(params))
    for part in _parts(patterns):
        # A range may end behind the last layer: stem..stage4 is the backbone of networks of three stages too.
        if not any(map(_test_of(part), paths)):
            names = dict.fromkeys(path.split("/")[0] for path in paths)
            raise InputError(f"--freeze={part} matches no parameter; the network has {_some(names)}")
    if all(map(frozen_by(patterns), paths)):
        raise InputError(f"--freeze={patterns} leaves nothing that learns; leave out the head, at least")


def _some(names: Iterable[str]) -> str:
    first = list(names)
    return ", ".join(first[:8]) + (", …" if len(first) > 8 else "")


def leave_frozen(
    tx: optax.GradientTransformation,
    is_frozen: IsFrozen,
    *,
    thawed: optax.GradientTransformation | None = None,
    after: int = 0,
) -> optax.GradientTransformation:
    """Return the optimizer for what learns alone: the rest has no decay, and updates of zero.

    Args:
        tx: of what learns from the first step.
        is_frozen: path of a parameter -> it is frozen.
        thawed: optimizer of what is frozen, from the step on in which it learns too, whose own steps count from there;
            None: it never learns, and the optimizer has no state for it.
        after: steps before that.
    """

    def labels(params: Any) -> Any:
        return map_with_path(lambda path, _: "frozen" if is_frozen(path) else "learning", params)

    def learns(step: Any, **values: Any) -> Any:
        return step >= after

    # A step in which it rests changes nothing of its state: momentum starts from zero when it begins to learn.
    rest = optax.conditionally_mask(thawed, learns) if thawed else optax.set_to_zero()
    return optax.partition({"learning": tx, "frozen": rest}, labels)
