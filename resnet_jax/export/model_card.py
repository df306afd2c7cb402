"""The model card of a published network: what it is, how it was made, how good it is, and what it is not for."""

import shlex
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from resnet_jax.evaluation.intervals import proportion
from resnet_jax.evaluation.options_shown import changed_options
from resnet_jax.export.facts import last_evaluation, preprocessing_of, public_source, published_top1, views_of
from resnet_jax.inference.trained import Trained
from resnet_jax.weights.catalog import known_weights
from resnet_jax.weights.shapes import options_of

TEMPLATE = Path(__file__).with_name("templates") / "model_card.md"
UNNAMED = "other"  # the hub's word for a license that it does not list
LOCAL = ("--workdir", "--data_dir", "--colors")  # on somebody's machine


def write_card(trained: Trained, repo: str, license: str, files: Mapping[str, str], in_timm: bool, path: Path) -> None:
    """Write the card of a network.

    Args:
        trained: the network.
        repo: USER/NAME.
        license: SPDX identifier; "" is that of the weights in the catalog, or none.
        files: name -> what it is, of the files beside the card.
        in_timm: timm has this network.
        path: of the card, README.md.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    known = known_weights(trained.source)
    result = measured(trained)
    task = "image-segmentation" if trained.classifies_pixels else "image-classification"
    evaluations = [
        EvalResult(
            task_type=task,
            dataset_type=trained.dataset,
            dataset_name=trained.dataset,
            metric_type="accuracy" if result["metric"] == "top-1" else "mean_iou",
            metric_value=result["value"],
        )
    ]
    data = ModelCardData(
        license=(license or (known.license if known else UNNAMED)).lower(),
        library_name="timm" if in_timm else "resnet_jax",
        pipeline_tag=task,
        tags=["resnet_jax", "jax", "onnx", trained.name],
        model_name=repo.rpartition("/")[2],
        eval_results=evaluations if result["value"] is not None else None,
    )
    facts = {
        "repo": repo,
        "model": trained.name,
        "source": public_source(trained),
        "create": create_call(trained),
        "license": license or (known.license if known else ""),
        "dataset": trained.dataset,
        "num_classes": trained.num_classes,
        "class_names": list(trained.class_names or ()),
        "preprocessing": preprocessing_of(trained),
        "result": result,
        "views": views_of(trained),
        "in_timm": in_timm,
        "options": [without_folders(option) for option in changed_options(trained.run) if not option.startswith(LOCAL)],
        "facts": trained.facts,
        "curves": "curves.png" in files,
        "files": files,
    }
    card = ModelCard.from_template(data, template_str=TEMPLATE.read_text("utf-8"), **facts)
    path.write_text(str(card), "utf-8")


def without_folders(option: str) -> str:
    """Return an option whose value, where it is a path and no USER/NAME of the hub, is the path's last part."""
    name, _, value = option.partition("=")
    path = PurePath(" ".join(shlex.split(value)))
    is_path = path.is_absolute() or value.startswith((".", "~")) or len(path.parts) > 2
    return f"{name}={shlex.quote(path.name)}" if is_path else option


def create_call(trained: Trained) -> str:
    """Return the Python call that creates the network."""
    options = {"num_classes": trained.num_classes} | options_of(trained.name, trained.model)
    return f"resnet_jax.create_model({trained.name!r}, {', '.join(f'{k}={v!r}' for k, v in options.items())})"


def measured(trained: Trained) -> dict[str, Any]:
    """Return the accuracy that a card states: metric, value, and of a run the 95 % interval and the count."""
    none = {"metric": "top-1", "value": None, "count": 0, "low": None, "high": None}
    if trained.run is None:
        return none | {"value": published_top1(trained)}
    result = last_evaluation(trained)
    if not result:
        return none
    count = result["num_examples"]
    if "miou" in result:
        return none | {"metric": "mean IoU", "value": result["miou"], "count": count}
    share = proportion(round(result["top1"] * count), count)
    return none | {"value": share.value, "count": count, "low": share.low, "high": share.high}
