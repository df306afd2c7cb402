"""Conversion of weights, or of a run, to a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jax

from resnet_jax.data.notices import print_notice
from resnet_jax.errors import InputError
from resnet_jax.inference.segment import coding_of, short_side_of, threshold_of
from resnet_jax.inference.trained import Trained, load_trained
from resnet_jax.weights.image_config import Interpolation
from resnet_jax.weights.pretrained import write_weights
from resnet_jax.weights.shapes import options_of
from resnet_jax.workdir.folder import is_run


def convert(
    source: str,
    out: str | Path,
    *,
    model: str = "",
    to: Literal["ours", "torch"] = "ours",
    num_classes: int = 0,
    weights_key: str = "",
    checkpoint: str = "newest",
    ema: bool = False,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    interpolation: Interpolation = "",
) -> tuple[str, int]:
    """Write weights to a file; the arrays keep their bits.

    Args:
        source: what `load_pretrained` takes, or a run's folder.
        out: .safetensors or .npz.
        model: network that the weights belong to; a run knows it.
        to: layout of the file.
        num_classes: outputs of the weights' head; 0 is what the file says, or else the network's own.
        weights_key: set of weights in a file that holds several, as in `load_pretrained`.
        checkpoint: of a run, as in `restore_run`.
        ema: take the average of a run's weights.
        mean: of R, G, B in [0, 1], of weights whose own is not known; so are the next two.
        std: of R, G, B in [0, 1].
        interpolation: of the resizing.

    Returns:
        The network's name and how many parameters it has.

    Raises:
        InputError: the source cannot be read, does not fit the network, or the file cannot be written or is the source.
    """
    check_not_read(out, source)
    of_run = is_run(source)
    if not (of_run or model):
        raise InputError(f"{source} is not a run's folder: name the network with --model=NAME")
    where: dict[str, Any] = {"workdir": source} if of_run else {"model": model, "weights": source}
    trained = load_trained(
        **where,
        checkpoint=checkpoint,
        ema=ema,
        weights_key=weights_key,
        num_classes=num_classes,
        mean=mean,
        std=std,
        interpolation=interpolation,
    )
    name = trained.name
    if model not in ("", name):
        raise InputError(f"--model={model}, but the run in {source} trained {name}")
    write_trained(out, trained, to, trained.source)
    if trained.assumed:
        print_notice(
            f"{out} does not say how images are preprocessed, because nothing tells it; --mean and --std would"
        )
    return name, sum(leaf.size for leaf in jax.tree.leaves(trained.variables["params"]))


def check_not_read(out: str | Path, source: str | Path) -> None:
    """Refuse to replace the weights that are read.

    Raises:
        InputError: `out` is the file `source`.
    """
    if Path(out).resolve() == Path(source).resolve():
        raise InputError(f"--out={out} is the file that is read; name another")


def write_trained(out: str | Path, trained: Trained, to: Literal["ours", "torch"], source: str) -> None:
    """Write the weights of a trained network to a file, with its description; a preprocessing that is a guess is none.

    Args:
        out: .safetensors or .npz.
        trained: the network.
        to: layout of the file.
        source: where the weights come from, as the file tells it.

    Raises:
        InputError: the file cannot be written.
    """
    write_weights(
        out,
        trained.name,
        trained.variables,
        layout=to,
        source=source,
        preprocessing=None if trained.assumed else trained.preprocessing,
        class_names=trained.class_names,
        options=options_of(trained.name, trained.model),
        masks=masks_of(trained),
    )


def masks_of(trained: Trained) -> dict[str, Any] | None:
    """Return what a file of weights should say of masks; None of a network that classifies images."""
    if "mask_coding" not in trained.facts:
        return None
    return {
        "mask_coding": trained.facts["mask_coding"],
        "threshold": threshold_of(trained, coding_of(trained)),
        "eval_resize": short_side_of(trained),
    }
