"""Descriptions in our own files of weights: network, options, preprocessing, classes."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError

OPTION_TYPES = bool | int | float | str
# Which have a place of their own, or are of the computation.
NO_OPTIONS = ("num_classes", "dtype", "param_dtype", "name", "parent")


@dataclass(frozen=True)
class Description:
    """A description of weights in their file.

    Attributes:
        model: the network; empty when the file does not say.
        options: of `create_model`, beside the number of classes.
        source: where the weights come from.
        preprocessing: of the images; None when the file does not say.
        class_names: K names; None when the file does not say.
        masks: of a network that classifies pixels, {"mask_coding", "threshold", "eval_resize"}; None when the file does
            not say.
    """

    model: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    preprocessing: Preprocessing | None = None
    class_names: Sequence[str] | None = None
    masks: Mapping[str, Any] | None = None


def to_facts(description: Description) -> dict[str, str]:
    """Return a description as the metadata of a file."""
    facts = {"model": description.model, "source": description.source}
    if description.options:
        facts["options"] = json.dumps(dict(description.options))
    if description.preprocessing:
        facts["preprocessing"] = json.dumps(dataclasses.asdict(description.preprocessing))
    if description.class_names:
        facts["class_names"] = json.dumps(list(description.class_names))
    if description.masks:
        facts["masks"] = json.dumps(dict(description.masks))
    return facts


def from_facts(facts: Mapping[str, str], source: str | Path) -> Description:
    """Read a description from the metadata of a file.

    Args:
        facts: the metadata; other entries do not matter.
        source: of the file, for errors.

    Raises:
        InputError: it makes no sense.
    """
    try:
        options, preprocessing, classes, masks = (
            json.loads(facts.get(key, "null")) for key in ("options", "preprocessing", "class_names", "masks")
        )
        if preprocessing:
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in preprocessing.items()}
            preprocessing = Preprocessing(**values)
        options = dict(options or {})
        if odd := [f"{k}={v!r}" for k, v in options.items() if k in NO_OPTIONS or not isinstance(v, OPTION_TYPES)]:
            raise ValueError(f"options {', '.join(odd)}")
        return Description(
            model=facts.get("model", ""),
            options=options,
            source=facts.get("source", ""),
            preprocessing=preprocessing,
            class_names=tuple(map(str, classes)) if classes else None,
            masks=dict(masks) if masks else None,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{source}: its description cannot be read ({error}); convert the original again") from error
