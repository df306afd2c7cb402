"""Variables from a set of weights, wherever it lies and whoever wrote it, and files of our own."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.models.registry import create_model
from resnet_jax.weights import catalog, formats, hub, keras
from resnet_jax.weights.layout import OURS, Layout, LeafPath, Tensors, names_and_shapes, to_tensors, to_variables
from resnet_jax.weights.rules import rules_for
from resnet_jax.weights.torch_layout import to_torch, torch_layout


@dataclass(frozen=True)
class WeightSet:
    """The tensors of one network and what is known of them.

    Attributes:
        model: the network.
        source: where they come from: a hub id, or a file's name.
        tensors: by the names of the layout.
        layout: of the tensors.
        preprocessing: what the network expects to see; None when nobody said.
        class_names: K names; None when nobody said.
    """

    model: str
    source: str
    tensors: Tensors
    layout: Layout
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] | None = None


def load_pretrained(
    name: str, source: str | Path | None = None, *, num_classes: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """Trained variables of a network: `create_model(name).apply(load_pretrained(name), images)`.

    Args:
        name: the network, as `create_model` knows it.
        source: a .safetensors, .npz, .pth, .pt or .th file in our own layout or torchvision's and timm's; a
            TensorFlow.js folder (Keras's ResNet-50); or a hub id such as "timm/resnet50.tv_in1k". None is the
            network's default on the hub.
        num_classes: K of the network to be filled. The head is loaded where it has K outputs and made anew where it
            has not; 0 leaves it out. None is the network's own number, and a head of another width is an error.
        seed: of the new head.

    Returns:
        The variables, float32; `names.known_weights(source)` says how images must be normalized for them.

    Raises:
        InputError: the weights cannot be found, read or fetched, or tensors are missing, unknown or of another shape.
    """
    return variables_of(open_weights(name, source), num_classes, seed)


def open_weights(name: str, source: str | Path | None = None) -> WeightSet:
    """The tensors of a set of weights, read but not yet compared with the network.

    Raises:
        InputError: they cannot be found, read or fetched, or belong to another network.
    """
    if source is None:
        default = catalog.default_weights(name)
        if default is None:
            raise InputError(f"{name} has no default weights; name a file or a hub id")
        source = default.name
    if keras.is_tfjs(source):
        known = catalog.BY_NAME[catalog.KERAS_RESNET50]
        refuse_another(name, source, keras.MODEL)
        try:
            tensors = keras.to_ours(keras.read_tfjs(source))
        except InputError as error:
            raise InputError(f"{source}: {error}") from error
        return WeightSet(name, known.name, tensors, OURS, known.preprocessing)
    on_hub = not Path(source).exists() and Path(source).suffix not in formats.READERS and catalog.is_hub_id(str(source))
    known = catalog.known_weights(source)
    if known:
        refuse_another(name, source, known.model)
    path = hub.download(str(source)) if on_hub else Path(source)
    tensors = formats.read_tensors(path)
    facts = formats.read_metadata(path)
    refuse_another(name, source, facts.get("model", name))
    preprocessing, class_names = described(facts, source)
    return WeightSet(
        model=name,
        source=facts.get("source") or (str(source) if on_hub else path.name),
        tensors=tensors,
        layout=OURS if any(key.startswith("params/") for key in tensors) else torch_layout(rules_for(name)),
        preprocessing=preprocessing or (known.preprocessing if known else None),
        class_names=class_names,
    )


def exact_variables(weights: WeightSet, num_classes: int | None = None) -> dict[str, Any]:
    """The variables of a set of weights, every one from its file.

    Raises:
        InputError: tensors are missing, unknown or of another shape.
    """
    shapes = variable_shapes(weights.model, num_classes)
    try:
        return _fitted(weights, shapes, [])
    except InputError as error:
        head = head_paths(weights.model, shapes, num_classes)
        try:
            _fitted(weights, shapes, head)
        except InputError:
            raise error from None
        raise InputError(f"{error} (the head alone differs: num_classes=K gives its width)") from error


def variables_of(weights: WeightSet, num_classes: int | None = None, seed: int = 0) -> dict[str, Any]:
    """The variables of a set of weights; arguments and errors are `load_pretrained`'s."""
    if num_classes is None:
        return exact_variables(weights)
    shapes = variable_shapes(weights.model, num_classes or None)
    table = names_and_shapes(shapes, weights.layout)
    head = head_paths(weights.model, shapes, num_classes or None)
    wanted = [table[path] for path in head]
    if num_classes and all(n in weights.tensors and weights.tensors[n].shape == shape for n, shape in wanted):
        return _fitted(weights, shapes, [])
    variables = _fitted(weights, shapes, head)
    if not num_classes:
        return variables
    return unflatten_dict(flatten_dict(variables) | initial_leaves(weights.model, head, num_classes, seed))


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
) -> None:
    """Write variables to a .safetensors file that says what it is, or to an .npz file that does not.

    Args:
        path: of the file.
        model: the network.
        variables: its variables.
        layout: "ours", or "torch" for a state dict that the original network loads.
        source: where the weights come from.
        preprocessing: what the network expects to see.
        class_names: K names.

    Raises:
        InputError: the file cannot be written, or the network has no torch layout.
    """
    host = jax.device_get(variables)
    tensors = to_torch(host, rules_for(model)) if layout == "torch" else to_tensors(host, OURS)
    # "pt" is what readers of torch's world look for.
    facts = {"format": "pt" if layout == "torch" else "resnet_jax", "model": model, "source": source}
    if preprocessing:
        facts["preprocessing"] = json.dumps(dataclasses.asdict(preprocessing))
    if class_names:
        facts["class_names"] = json.dumps(list(class_names))
    formats.write_tensors(path, tensors, facts)


def described(facts: Mapping[str, str], source: str | Path) -> tuple[Preprocessing | None, tuple[str, ...] | None]:
    """Preprocessing and class names from what a file of ours says of itself.

    Raises:
        InputError: it cannot be understood.
    """
    try:
        seen = json.loads(facts.get("preprocessing", "null"))
        classes = json.loads(facts.get("class_names", "null"))
        if seen:
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in seen.items()}
            seen = Preprocessing(**values)
        return seen, tuple(map(str, classes)) if classes else None
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{source}: its description cannot be read ({error}); convert the original again") from error


def refuse_another(name: str, source: str | Path, model: str) -> None:
    """Refuse weights of another network, also where all shapes would fit (resnet50 and resnet50_v1).

    Raises:
        InputError: `model` is not `name`.
    """
    if model != name:
        raise InputError(f"{source} holds weights of {model}, not of {name}")


def variable_shapes(name: str, num_classes: int | None) -> Any:
    """Shapes of a network's variables; nothing is computed."""
    return jax.eval_shape(_init(name, num_classes), jax.random.key(0))


def head_paths(name: str, shapes: Any, num_classes: int | None) -> list[LeafPath]:
    """The leaves that depend on the number of classes (None: the network's own), whatever the network calls them."""
    classes = num_classes or cast(Any, create_model(name)).num_classes
    leaves: dict[LeafPath, Any] = flatten_dict(shapes)
    wider: dict[LeafPath, Any] = flatten_dict(variable_shapes(name, classes + 1))
    return [path for path, leaf in leaves.items() if leaf.shape != wider[path].shape]


def initial_leaves(name: str, paths: Sequence[LeafPath], num_classes: int, seed: int) -> dict:
    """Some leaves as the network's initialization draws them; inside jit, the rest is never computed."""
    init = _init(name, num_classes)

    def chosen(key: jax.Array) -> list[jax.Array]:
        leaves: dict[LeafPath, Any] = flatten_dict(init(key))
        return [leaves[path] for path in paths]

    return dict(zip(paths, jax.device_get(jax.jit(chosen)(jax.random.key(seed))), strict=True))


def _init(name: str, num_classes: int | None) -> Any:
    model = create_model(name, num_classes=num_classes)
    size = 32 if name.endswith("_cifar") else 224
    return lambda key: model.init(key, jnp.zeros((1, size, size, 3)), train=False)
