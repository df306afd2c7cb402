"""The weights that a run starts from, fitted to its classes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

import jax
from flax.traverse_util import flatten_dict

from resnet_jax.config.options import Config, uses_masks
from resnet_jax.data.build import build_preprocessing
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained, takes_average, trained_from_run, trained_of
from resnet_jax.models.counts import abstract_variables
from resnet_jax.models.registry import backbone_name, create_model
from resnet_jax.models.resnet.scan import stacked_name
from resnet_jax.optim.freeze import check_freeze, frozen_by
from resnet_jax.optim.param_paths import by_path
from resnet_jax.run.build import Run, build_run
from resnet_jax.run.cached_features import check_cache
from resnet_jax.run.distill import add_teacher
from resnet_jax.run.new_parts import ENCODER, around_encoder, with_head
from resnet_jax.run.report import say_once
from resnet_jax.weights.auxiliary import BUILDS_HEADS
from resnet_jax.weights.checksum import checksum
from resnet_jax.weights.layout import OURS, to_tensors
from resnet_jax.weights.pretrained import open_weights, variables_of
from resnet_jax.weights.shapes import options_of
from resnet_jax.workdir.folder import is_run

# Options that the weights answer where they are unset: 0 or empty.
WEIGHT_OPTIONS = ("mean", "std", "interpolation", "eval_crop")

# Options of a network that may be other than those of the network whose weights it starts from.
MAY_DIFFER = {"norm", "output_stride", *BUILDS_HEADS}


def read_initial(config: Config) -> Trained | None:
    """Return the network of --init_from; None without it.

    It has no head where the file's is of a width that nothing tells.

    Raises:
        InputError: it cannot be read, or is another network.
    """
    if not config.init_from:
        return None
    encoder = backbone_name(config.model)
    if is_run(config.init_from):
        try:
            ema = takes_average(config.weights_key)
            trained = trained_from_run(config.init_from, config.init_checkpoint, ema=ema)
        except InputError as error:
            raise InputError(f"--init_from={config.init_from}: {error}") from error
        if trained.name not in (config.model, encoder):
            raise InputError(f"--init_from={config.init_from} is a run of {trained.name}, not of {config.model}")
        return trained
    if config.init_checkpoint != "newest":
        raise InputError(
            f"--init_checkpoint={config.init_checkpoint} is of a run, and --init_from={config.init_from} is not the "
            "folder of one"
        )
    try:
        return _read_file(config, config.model)
    except InputError:
        if not encoder or _has_encoder(config):
            raise
    return _read_file(config, encoder)


def _has_encoder(config: Config) -> bool:
    """Return whether the weights of --init_from are of a whole network for dense prediction, by their names."""
    try:
        weights = open_weights(config.model, config.init_from, config.weights_key)
    except InputError:
        return False
    return any("backbone" in name for name in weights.tensors)


def _read_file(config: Config, name: str) -> Trained:
    """Return the network of that name with the weights of --init_from, which are of a file or the hub."""
    weights = open_weights(name, config.init_from, config.weights_key)
    for note in weights.notes:
        say_once(note)
    try:
        return trained_of(weights)
    except InputError:  # a head of a width that nothing tells; what else is wrong is said again
        variables = variables_of(weights, 0)
        model = create_model(name, **weights.options)
        return Trained(name, model, variables, weights.preprocessing, None, weights.source, "")


def with_preprocessing_of(trained: Trained | None, config: Config, begun: Config | None = None) -> Config:
    """Return the config with the preprocessing of the weights that it starts from, where its options are unset.

    Args:
        trained: the network with these weights; None where `begun` tells their preprocessing.
        config: the options.
        begun: config of the run in the folder, which has the preprocessing since it began.
    """
    if not config.init_from or (trained is None and begun is None):
        return config
    found: dict[str, Any]
    if begun:
        found = {name: getattr(begun, name) for name in WEIGHT_OPTIONS}
    else:
        assert trained is not None
        p = trained.preprocessing
        crop = min(1.0, p.image_size / p.resize)
        found = {"mean": p.mean, "std": p.std, "interpolation": p.interpolation}
        if not uses_masks(config):
            found["eval_crop"] = crop
    return dataclasses.replace(config, **{name: value for name, value in found.items() if not getattr(config, name)})


@dataclasses.dataclass(frozen=True)
class Initial:
    """Variables to start from.

    Attributes:
        variables: of the run's network, on the host.
        line: what a user should read about them, and about the preprocessing of the images.
        facts: what config.json says of them.
    """

    variables: Any
    line: str
    facts: dict[str, Any]


def fit_initial(trained: Trained | None, run: Run) -> Initial | None:
    """Return the variables of a network with a head for the classes of the run; None where it starts from nothing.

    A class that the weights know by the same name keeps its part of the head; the others are drawn as a new network's.

    Raises:
        InputError: they do not fit the run's network, or its options do not go with them.
    """
    config = run.config
    if trained is None:
        if config.freeze or config.freeze_statistics or config.cache_features:
            option = f"--freeze={config.freeze}" if config.freeze else "--freeze_statistics or --cache_features"
            raise InputError(f"{option} keeps what a new network does not have yet; start from weights, --init_from=…")
        return None
    classes = run.data.class_names
    old = jax.device_get(trained.variables)
    digest = checksum(to_tensors(old, OURS), {})
    encoder, kept = trained.name != config.model, 0
    if encoder:
        check_options(config, trained.name, trained.model, cast(Any, run.model).backbone())
        variables = around_encoder(run, old)
    else:
        check_options(config, config.model, trained.model, run.model)
        variables, kept = with_head(config, options_of(config.model, run.model), old, trained.class_names, classes)
    _check_shapes(config, variables, run)
    check_freeze(config.freeze, variables["params"])
    check_scan(config, run.model, variables["params"])
    check_cache(config, variables["params"])
    head = f"its head keeps {kept} of {len(classes)} classes, by name" if kept else "with a new head"
    head = f"the encoder, a {trained.name}; the rest is new" if encoder else head
    until = f" until epoch {config.unfreeze_at:g}" if config.unfreeze_at else ""
    frozen = f"; frozen{until}: {config.freeze}" if config.freeze else ""
    statistics = "; normalizations keep their statistics" if config.freeze_statistics else ""
    seen = build_preprocessing(config, run.data.image_size)
    size = f"shorter side {seen.resize} px and {seen.image_size} px of it, "
    images = (
        f"images as these weights need them: {'' if run.task.pixels else f'{seen.interpolation}, {size}'}"
        f"minus {_numbers(seen.mean)}, over {_numbers(seen.std)}"
    )
    return Initial(
        variables,
        f"starting from {trained.source}, {head}{frozen}{statistics}\n{images}",
        {"init": {"source": trained.source, "sha256": digest, "classes_kept": kept}},
    )


def check_options(config: Config, name: str, old: Any, new: Any) -> None:
    """Refuse weights of a network that computes something else with the same arrays.

    Args:
        config: of the run.
        name: of both networks, without their options.
        old: the network of the weights.
        new: that of the run, or its encoder.

    Raises:
        InputError: an option differs.
    """
    theirs, ours = (options_of(name, model) for model in (old, new))
    for option in sorted((theirs.keys() | ours.keys()) - MAY_DIFFER):
        if theirs.get(option) != ours.get(option):
            usual = getattr(create_model(name), option)
            raise InputError(
                f"--init_from={config.init_from} are weights of a network with {option}={theirs.get(option, usual)}, "
                f"and this one has {option}={ours.get(option, usual)}; give the options that they were trained with"
            )


def check_scan(config: Config, model: Any, params: Any) -> None:
    """Refuse to freeze a part of blocks that --scan compiles as one.

    Raises:
        InputError: --freeze names some of them, and not all.
    """
    encoder, prefix = (model.backbone(), f"{ENCODER}/") if hasattr(model, "backbone") else (model, "")
    if not (config.scan and config.freeze and hasattr(encoder, "scan_groups")):
        return
    is_frozen, paths = frozen_by(config.freeze), list(by_path(params))
    for names in encoder.scan_groups():
        first = f"{prefix}{names[0]}/"
        for leaf in (path.removeprefix(first) for path in paths if path.startswith(first)):
            of_each = {is_frozen(f"{prefix}{name}/{leaf}") for name in names}
            if len(of_each) > 1 or is_frozen(f"{prefix}{stacked_name(names)}/{leaf}") not in of_each:
                how = "ends among" if len(of_each) > 1 else "names one by one"
                raise InputError(
                    f"--freeze={config.freeze} {how} {names[0]} to {names[-1]}, which --scan compiles as one; "
                    "leave out --scan, or freeze whole stages (stem..stage2, stage1_*)"
                )


def fresh_run(config: Config) -> Run:
    """Return the run of a config before its first step, whatever its folder holds.

    Raises:
        InputError: as `read_initial`, `build_run` and `fit_initial`.
    """
    trained = read_initial(config)
    run = add_teacher(build_run(with_preprocessing_of(trained, config)))
    initial = fit_initial(trained, run)
    if initial is None:
        return run
    say_once(initial.line)
    return dataclasses.replace(run, initial=initial.variables)


def check_same_start(initial: Initial, begun: Mapping[str, Any]) -> None:
    """Refuse to begin a run again, of which nothing was saved yet, from other bits than at first.

    Args:
        initial: variables to start from.
        begun: what config.json says of the run; empty for a new one.

    Raises:
        InputError: the weights have changed.
    """
    before, now = begun.get("init"), initial.facts["init"]
    if before and before["sha256"] != now["sha256"]:
        raise InputError(
            f"--init_from: the weights of {now['source']} are not those that this run began with (config.json has "
            f"SHA-256 {before['sha256'][:12]}…, these {now['sha256'][:12]}…); restore them, or name another --workdir"
        )


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.4g}" for value in values)


def _check_shapes(config: Config, variables: Any, run: Run) -> None:
    wanted: dict[tuple[str, ...], Any] = flatten_dict(abstract_variables(run.model, run.data.image_size))
    found: dict[tuple[str, ...], Any] = flatten_dict(variables)
    wrong = [path for path in wanted if path not in found or found[path].shape != wanted[path].shape]
    if wrong or len(found) != len(wanted):
        name = "/".join((wrong or [path for path in found if path not in wanted])[0])
        raise InputError(
            f"--init_from={config.init_from} does not fit {config.model} with these options ({name} differs); "
            "give the options that the weights were trained with"
        )
