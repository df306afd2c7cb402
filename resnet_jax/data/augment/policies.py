"""Augmentation policies by name, for `--auto_augment`."""

import re
from collections.abc import Callable
from math import inf

import numpy as np

from resnet_jax.data.augment.color import three_augment
from resnet_jax.data.augment.image_ops import BILINEAR, NEAREST
from resnet_jax.data.augment.timm_randaugment import RandAugment
from resnet_jax.data.augment.torchvision_policies import RAND_AUGMENT, AugMix, BinnedRandAugment, TrivialAugment
from resnet_jax.errors import InputError

Policy = Callable[[np.ndarray, np.random.Generator], np.ndarray]

# A full name of each kind and its meaning. Sections may be left out, and their order is free.
SYNTAX = {
    "rand-m7-mstd0.5-inc1": "timm's RandAugment: m level of 10 (10), n operations (2), p probability of each (0.5), "
    "mstd noise on the level (0; above 100 it is uniform from 0 to m), mmax highest level (10), inc 1 for a higher "
    "level to be always the stronger (0)",
    "randaugment-n2-m9": "RandAugment of Cubuk et al. 2019: n operations (2) at bin m of 0 to 30 (9)",
    "ta_wide": "TrivialAugment: one operation at any bin of wide ranges",
    "augmix-s3-w3-d-1-a1": "AugMix without its loss: w chains (3) of d operations (-1: 1 to 3) at the lowest s of 10 "
    "bins (3), weighted with concentration a (1)",
    "3a": "3-Augment of DeiT III: gray, solarized or blurred",
}

# Lowest and highest value of each section.
_SECTIONS: dict[str, dict[str, tuple[float, float]]] = {
    "rand": {"m": (0, inf), "n": (1, inf), "p": (0, 1), "mstd": (0, inf), "mmax": (1, inf), "inc": (0, 1)},
    "randaugment": {"n": (1, inf), "m": (0, RAND_AUGMENT.bins - 1)},
    "ta_wide": {},
    "augmix": {"s": (1, 10), "w": (1, inf), "d": (-1, inf), "a": (0.01, inf)},
    "3a": {},
}
_FRACTIONAL = {"p", "mstd", "a"}

# Torchvision's training script interpolates bilinearly; its RandAugment and TrivialAugment alone default to nearest.
_NEAREST = "-nearest"
_TAKE_NEAREST = {"randaugment", "ta_wide", "augmix"}


def policy(name: str) -> Policy:
    """Return the policy of that name: (image uint8 [H,W,3], rng) -> uint8 [H,W,3]; picklable.

    Args:
        name: as in SYNTAX. The geometric operations of randaugment, ta_wide and augmix interpolate bilinearly; with
            "-nearest" at the end they take the nearest pixel.

    Raises:
        InputError: there is no such policy, it has no such section, or the section no such value.
    """
    kind = name.split("-", 1)[0]
    if kind not in _SECTIONS:
        raise InputError(f"--auto_augment={name}: there is no such policy; there are {', '.join(SYNTAX)}")
    resample = BILINEAR
    text = name.removeprefix(kind)
    if kind in _TAKE_NEAREST and text.endswith(_NEAREST):
        resample, text = NEAREST, text.removesuffix(_NEAREST)
    values = _values(name, kind, text)
    whole = {key: int(value) for key, value in values.items() if key not in _FRACTIONAL}
    match kind:
        case "rand":
            std = values.get("mstd", 0.0)
            return RandAugment(
                level=whole.get("m", 10),
                count=whole.get("n", 2),
                std=inf if std > 100 else std,
                highest=whole.get("mmax", 10),
                increasing=bool(whole.get("inc", 0)),
                probability=values.get("p", 0.5),
            )
        case "randaugment":
            return BinnedRandAugment(whole.get("n", 2), whole.get("m", 9), resample)
        case "ta_wide":
            return TrivialAugment(resample)
        case "augmix":
            sections = whole.get("s", 3), whole.get("w", 3), whole.get("d", -1)
            return AugMix(*sections, values.get("a", 1.0), resample)
    return three_augment


def _values(name: str, kind: str, text: str) -> dict[str, float]:
    """Parse "-m7-mstd0.5" to {"m": 7.0, "mstd": 0.5} and check it against the sections of that kind."""
    allowed = _SECTIONS[kind]
    listed = ", ".join(allowed) or "none"
    values: dict[str, float] = {}
    # A dash before a digit is a sign. Text before the first section is an error.
    first, *sections = re.split(r"-(?!\d)", text)
    for section in [first, *sections] if first else sections:
        match = re.fullmatch(r"([a-z]+)(-?\d+(?:\.\d+)?)", section)
        if not match or match[1] not in allowed or match[1] in values:
            raise InputError(
                f"--auto_augment={name}: {section!r} is not a section of {kind}, or is given twice; take {listed}"
            )
        key, value = match[1], float(match[2])
        low, high = allowed[key]
        if not low <= value <= high or (key not in _FRACTIONAL and value != int(value)):
            kind_of_number = "a number" if key in _FRACTIONAL else "a whole number"
            limits = f"of {low} or more" if high == inf else f"from {low} to {high}"
            raise InputError(f"--auto_augment={name}: {key} must be {kind_of_number} {limits}")
        values[key] = value
    return values
