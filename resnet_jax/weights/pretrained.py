"""Variables from a set of weights, wherever it lies and whoever wrote it, and files of our own."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.models.registry import classifies_pixels
from resnet_jax.weights import catalog, description, formats, hub, keras, matching
from resnet_jax.weights.auxiliary import options_for
from resnet_jax.weights.checksum import vectors_digest
from resnet_jax.weights.image_config import find_preprocessing
from resnet_jax.weights.layout import OURS, Layout, LeafPath, Tensors, names_and_shapes, to_tensors, to_variables
from resnet_jax.weights.rules import layouts_for, rules_for
from resnet_jax.weights.shapes import head_paths, initial_leaves, variable_shapes
from resnet_jax.weights.torch_layout import to_torch


@dataclass(frozen=True)
class WeightSet:
    """The tensors of one network, their layout and their preprocessing.

    Attributes:
        model: the network.
        source: where they come from: a hub id, or a file's name.
        tensors: by the names of the layout.
        layout: of the tensors.
        preprocessing: of the network's images.
        preprocessing_from: where the preprocessing is from, as the end of a line for the user.
        class_names: K names; None when nothing says.
        options: of `create_model`, beside the number of classes, that the network was made with.
        masks: of a network that classifies pixels, as in `description.Description`.
        notes: lines about choices that were made, which a user should read.
    """

    model: str
    source: str
    tensors: Tensors
    layout: Layout
    preprocessing: Preprocessing
    preprocessing_from: str
    class_names: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    masks: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines for a user: choices among several sets of weights, and the preprocessing of images."""
        p = self.preprocessing
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (p.mean, p.std))
        how = f"resized to {p.resize} pixels ({p.interpolation}), cropped to {p.image_size}"
        if classifies_pixels(self.model):
            short = (self.masks or {}).get("eval_resize", 0)
            how = f"resized to {short} pixels ({p.interpolation})" if short else "taken as they are"
        return (*self.notes, f"{self.source}: images are {how}, mean {mean}, std {std}; from {self.preprocessing_from}")


def load_pretrained(
    name: str,
    source: str | Path | None = None,
    *,
    num_classes: int | None = None,
    seed: int = 0,
    weights_key: str = "",
) -> dict[str, Any]:
    """Load trained variables of a network: `create_model(name).apply(load_pretrained(name), images)`.

    Args:
        name: the network, as `create_model` knows it.
        source: a .safetensors or .npz file or one of PyTorch's, in our own layout, torchvision's and timm's, Hugging
            Face's or BiT's; a TensorFlow.js folder (Keras's ResNet-50); or a hub id such as "timm/resnet50.tv_in1k".
            None is the network's default on the hub.
        num_classes: K of the network to be filled. The head is loaded where it has K outputs and initialized where it
            has not; 0 leaves it out. None is the network's own number, and a head of another width is an error.
        seed: of the new head.
        weights_key: which of several sets of weights in a file, such as "state_dict_ema" or a prefix of names.

    Returns:
        The variables, float32; `open_weights(name, source).preprocessing` is their images'.

    Raises:
        InputError: the weights cannot be found, read or fetched, tensors are missing, unknown or of another shape, or
            numbers are not finite.
    """
    weights = open_weights(name, source, weights_key)
    for note in weights.notes:
        print(note, file=sys.stderr)
    return variables_of(weights, num_classes, seed)


def open_weights(name: str, source: str | Path | None = None, weights_key: str = "") -> WeightSet:
    """Read the tensors of a set of weights; they are not yet compared with the network.

    Args:
        name: the network.
        source: as in `load_pretrained`.
        weights_key: as in `load_pretrained`.

    Raises:
        InputError: they cannot be found, read or fetched, or belong to another network.
    """
    if source is None:
        default = catalog.default_weights(name)
        if default is None:
            raise InputError(f"{name} has no default weights; name a file or a hub id")
        source = default.name
    if keras.is_tfjs(source):
        if weights_key:
            raise InputError(f"--weights_key={weights_key}: {source} holds one set of weights; leave it out")
        return _open_tfjs(name, source)
    on_hub = not Path(source).exists() and not formats.has_known_ending(source) and catalog.is_hub_id(str(source))
    known = catalog.known_weights(source)
    if known:
        refuse_another(name, source, known.model)
    path = hub.download(str(source)) if on_hub else Path(source)
    if on_hub and not known:
        hub.download_config(str(source), path.parent)
    file = formats.read_file(path, weights_key)
    stated = description.from_facts(file.facts, source)
    refuse_another(name, source, stated.model or name)
    layouts = [OURS] if any("params/" in key for key in file.tensors) else layouts_for(name)
    tensors, layout, note = matching.match(file.tensors, variable_shapes(name, None, stated.options), layouts)
    options = options_for(name, stated.options, tensors, layout)
    without = "" if options == stated.options else "holds no auxiliary heads; only training needs them"
    same = catalog.BY_DIGEST.get(vectors_digest(tensors))
    if same:
        refuse_another(name, source, same.model)
    entry = same or known
    preprocessing, origin = find_preprocessing(name, path.parent, stated.preprocessing, entry, layout)
    return WeightSet(
        model=name,
        source=stated.source or (str(source) if on_hub else _origin(path, entry)),
        tensors=tensors,
        layout=layout,
        preprocessing=preprocessing,
        preprocessing_from=origin,
        class_names=tuple(stated.class_names) if stated.class_names else None,
        options=options,
        masks=stated.masks,
        notes=tuple(f"{source}: {line}" for line in (file.note, note, without) if line),
    )


def _open_tfjs(name: str, source: str | Path) -> WeightSet:
    known = catalog.BY_NAME[catalog.KERAS_RESNET50]
    refuse_another(name, source, keras.MODEL)
    try:
        tensors = keras.to_ours(keras.read_tfjs(source))
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
    return WeightSet(name, known.name, tensors, OURS, known.preprocessing, f"the catalog's {known.name}")


def _origin(path: Path, entry: catalog.Weights | None) -> str:
    return path.name if entry is None or catalog.BY_NAME.get(path.stem) is entry else entry.name


def exact_variables(weights: WeightSet, num_classes: int | None = None) -> dict[str, Any]:
    """Return the variables of a set of weights, every one from its file.

    Raises:
        InputError: tensors are missing, unknown or of another shape.
    """
    shapes = variable_shapes(weights.model, num_classes, weights.options)
    try:
        return _fitted(weights, shapes, [])
    except InputError as error:
        head = head_paths(weights.model, shapes, num_classes, weights.options)
        try:
            _fitted(weights, shapes, head)
        except InputError:
            raise error from None
        raise InputError(f"{error} (the head alone differs: num_classes=K gives its width)") from error


def variables_of(weights: WeightSet, num_classes: int | None = None, seed: int = 0) -> dict[str, Any]:
    """Return the variables of a set of weights; arguments and errors are `load_pretrained`'s."""
    if num_classes is None:
        return exact_variables(weights)
    shapes = variable_shapes(weights.model, num_classes or None, weights.options)
    table = names_and_shapes(shapes, weights.layout)
    head = head_paths(weights.model, shapes, num_classes or None, weights.options)
    wanted = [table[path] for path in head]
    if num_classes and all(n in weights.tensors and weights.tensors[n].shape == shape for n, shape in wanted):
        return _fitted(weights, shapes, [])
    variables = _fitted(weights, shapes, head)
    if not num_classes:
        return variables
    leaves = initial_leaves(weights.model, head, num_classes, seed, weights.options)
    return unflatten_dict(flatten_dict(variables) | leaves)


def _fitted(weights: WeightSet, shapes: Any, without: Sequence[LeafPath]) -> dict[str, Any]:
    try:
        return to_variables(weights.tensors, shapes, weights.layout, without)
    except InputError as error:
        raise InputError(f"{weights.source} does not fit {weights.model}: {error}") from error


def write_weights(
    path: str | Path,
    model: str,
    variables: Any,
    *,
    layout: Literal["ours", "torch"] = "ours",
    source: str = "",
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    masks: Mapping[str, Any] | None = None,
) -> None:
    """Write variables to a .safetensors or .npz file, with their description and a checksum.

    Args:
        path: of the file.
        model: the network.
        variables: its variables.
        layout: "ours", or "torch" for a state dict that the original network loads.
        source: where the weights come from.
        preprocessing: of the network's images.
        class_names: K names.
        options: of `create_model`, beside the number of classes, that the network was made with.
        masks: of a network that classifies pixels, as in `description.Description`.

    Raises:
        InputError: the file cannot be written, or the network has no torch layout.
    """
    host = jax.device_get(variables)
    tensors = to_torch(host, rules_for(model)) if layout == "torch" else to_tensors(host, OURS)
    stated = description.Description(model, options or {}, source, preprocessing, class_names, masks)
    facts = description.to_facts(stated)
    if Path(path).suffix == ".npz":
        del facts["model"]  # for another network, a list of what does not fit says more than a name
    # "pt" is what readers of torch's world look for.
    formats.write_tensors(path, tensors, {"format": "pt" if layout == "torch" else "resnet_jax"} | facts)


def refuse_another(name: str, source: str | Path, model: str) -> None:
    """Refuse weights of another network, also where all shapes would fit (resnet50 and resnet50_v1).

    Raises:
        InputError: `model` is not `name`.
    """
    if model != name:
        raise InputError(f"{source} holds weights of {model}, not of {name}")
