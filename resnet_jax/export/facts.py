"""The description of an exported network: what who runs it must know of its images, its classes and its origin."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from resnet_jax.inference.segment import short_side_of
from resnet_jax.inference.trained import Trained
from resnet_jax.weights.catalog import known_weights
from resnet_jax.weights.shapes import options_of
from resnet_jax.workdir.folder import read_result

ROUNDED = ("top1", "top5", "miou", "pixel_accuracy")


def describe(trained: Trained, normalized_inside: bool, axes: str = "[B,3,H,W]") -> dict[str, str]:
    """Return the description of a network as names and values; those that are not text are JSON.

    Args:
        trained: the network.
        normalized_inside: the file normalizes its images, which are uint8 [B,H,W,3].
        axes: of the images where it does not.
    """
    known = known_weights(trained.source)
    facts = {
        "model": trained.name,
        "options": options_of(trained.name, trained.model),
        "source": public_source(trained),
        "license": known.license if known else "",
        "dataset": trained.dataset,
        "images": "uint8 [B,H,W,3]" if normalized_inside else f"float32 {axes}, (image / 255 - mean) / std",
        **preprocessing_of(trained),
        "class_names": list(trained.class_names or ()),
        "result": result_of(trained),
        "result_views": views_of(trained),
    }
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items() if value}


def preprocessing_of(trained: Trained) -> dict[str, Any]:
    """Return how a network's images are prepared, as values for JSON.

    One that classifies pixels sees whole pictures: in place of a crop there may be "eval_resize", their shorter side.
    """
    values = dataclasses.asdict(trained.preprocessing)
    if not trained.classifies_pixels:
        return values
    short = short_side_of(trained)
    return {name: values[name] for name in ("mean", "std", "interpolation")} | ({"eval_resize": short} if short else {})


def public_source(trained: Trained) -> str:
    """Return where a network comes from, without the path on this machine."""
    path = Path(trained.source)
    # An absolute path may be that of another machine, where the weights were written.
    return path.resolve().name if path.is_absolute() or path.exists() else trained.source


def result_of(trained: Trained) -> dict[str, float]:
    """Return the accuracies of a run's last evaluation, or the published ones of a set of weights; {} if none.

    The last evaluation is of the newest weights: none is known of other checkpoints, averages and image sizes.
    """
    if trained.run:
        result = last_evaluation(trained)
        return {name: round(result[name], 6) for name in ROUNDED if name in result}
    published = published_top1(trained)
    return {"published_top1": published} if published is not None else {}


def published_top1(trained: Trained) -> float | None:
    """Return the accuracy that is published of a set of weights; None of others, and of images of another size."""
    known = known_weights(trained.source)
    return known.top1 if known and trained.preprocessing == known.preprocessing else None


def views_of(trained: Trained) -> str:
    """Return of which views of a picture the result is the average, as --eval_views; "" where it is of one.

    A file computes the logits of one view, and is a little less accurate than a result of several.
    """
    views = trained.run.eval_views if trained.run and last_evaluation(trained) else "center"
    return "" if views == "center" else views


def last_evaluation(trained: Trained) -> dict[str, Any]:
    """Return the content of the result.json of a network's run, where it is of these weights; else {}."""
    if trained.run is None or not trained.as_evaluated:
        return {}
    return read_result(Path(trained.source).absolute()) or {}
