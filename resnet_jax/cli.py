"""From a command line to a `Config`, and from an exception to an exit status."""

import dataclasses
import difflib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise, zip_longest
from types import MappingProxyType
from typing import Any, TypeVar, cast

import tyro

from resnet_jax.config.help import format_help
from resnet_jax.config.options import Config, progressive_sizes
from resnet_jax.config.segmentation_options import SegmentationOptions
from resnet_jax.errors import DONE, InputError
from resnet_jax.recipes import Recipe
from resnet_jax.runtime import program, signals
from resnet_jax.runtime.compilation_cache import enable_cache
from resnet_jax.runtime.ending import ending_together, report

Options = TypeVar("Options")


def parse_options(
    kind: type[Options],
    argv: Sequence[str],
    name: str,
    description: str | None,
    *,
    default: Options | None = None,
    recipes: Mapping[str, Recipe] = MappingProxyType({}),
) -> Options:
    """Return the options of `python -m experiments.NAME`, read from its command line.

    Args:
        kind: dataclass of the options.
        argv: the command line behind the command's name.
        name: the experiment's.
        description: head of its help.
        default: values of the options that are not given; None: those of the fields.
        recipes: what --recipe may name, for the help.

    Raises:
        SystemExit: an unknown or ill-typed option (status 2, with a suggestion), or --help (status 0).
    """
    command = f"python -m experiments.{name}"
    if "--help" in argv or "-h" in argv:
        summaries = {known: recipe.summary for known, recipe in recipes.items()}
        without = () if getattr(default, "dataset", "") == "masks" else (SegmentationOptions,)
        print(f"usage: {command} [OPTIONS]\n{format_help(kind, default, description or '', summaries, without)}")
        sys.exit(DONE)
    fields = dataclasses.fields(cast(Any, kind))
    switches = {f"--{f.name}" for f in fields if f.type is bool}
    # `--nesterov` alone means `--nesterov=True`, which tyro's own switches would refuse.
    given = [
        f"{a}=True" if with_underscores(a) in switches and following not in ("True", "False") else a
        for a, following in zip_longest(argv, argv[1:])
    ]
    # Every command takes --debug; it is `run_command` that reads it.
    if all(f.name != "debug" for f in fields):
        given = without_debug(given)
    options = tyro.cli(
        kind,
        args=given,
        prog=command,
        default=tyro.MISSING_NONPROP if default is None else default,
        use_underscores=True,
        config=(tyro.conf.FlagConversionOff,),
    )
    return dataclasses.replace(cast(Any, options), **{f.name: expanded(getattr(options, f.name)) for f in fields})


def without_debug(words: Sequence[str]) -> list[str]:
    """Return the words of a command line without `--debug`, `--debug=True` and `--debug True`."""
    values = ("True", "False")
    return [
        word
        for before, word in pairwise(("", *words))
        if word not in ("--debug", *(f"--debug={value}" for value in values))
        and not (before == "--debug" and word in values)
    ]


def expanded(value: Any) -> Any:
    """Return an option's value with every ~ at the beginning of a path replaced by the home directory.

    A shell does that for `--workdir ~/run`, not for `--workdir=~/run`. A colon separates a network from its weights.
    """
    if isinstance(value, tuple):
        return tuple(map(expanded, value))
    if isinstance(value, str) and "~" in value:
        return ":".join(map(os.path.expanduser, value.split(":")))
    return value


def parse_config(
    argv: Sequence[str],
    name: str,
    description: str | None,
    defaults: Config,
    *,
    recipes: Mapping[str, Recipe],
    family: str,
    listed: Mapping[str, Recipe] | None = None,
) -> Config:
    """Return the config of a training command: the recipe's settings beneath the options that are given.

    --depth becomes the network's name, image sizes scale with --image_size, and a folder is chosen where none is named.

    Args:
        argv: the command line behind the command's name.
        name: the experiment's.
        description: head of its help.
        defaults: the experiment's own settings; its `recipe` is the one used when none is named.
        recipes: what `--recipe` may name.
        family: name of the network at a depth, such as "resnet{depth}_cifar".
        listed: recipes that the help lists; None: all.

    Raises:
        InputError: an unknown recipe, or --model and --depth name two networks.
        SystemExit: as `parse_options`.
    """
    recipe = value_of(argv, "recipe", defaults.recipe)
    if recipe and recipe not in recipes:
        close = difflib.get_close_matches(recipe, recipes, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        known = ", ".join(recipes) or "none"
        raise InputError(f"--recipe={recipe}: there is no such recipe here; {hint}known are: {known}")
    settings = recipes[recipe].settings if recipe else {}
    base = dataclasses.replace(defaults, **settings, recipe=recipe)
    config = parse_options(Config, argv, name, description, default=base, recipes=recipes if listed is None else listed)
    config = _scaled_sizes(config, base, argv)
    model = config.model
    if config.depth:
        model = family.format(depth=config.depth)
        if value_of(argv, "model", model) != model:
            raise InputError(f"--model={config.model} and --depth={config.depth} name two networks; give one of them")
    workdir = config.workdir or "-".join([f"runs/{config.dataset}", model, *filter(None, [recipe])])
    return dataclasses.replace(config, model=model, workdir=workdir)


def _scaled_sizes(config: Config, base: Config, argv: Sequence[str]) -> Config:
    """Return the config with the recipe's other image sizes scaled by the --image_size that was given."""
    if config.image_size == base.image_size or not base.image_size:
        return config
    scale = config.image_size / base.image_size

    def scaled(size: int) -> int:
        return round(size * scale / 2) * 2

    sizes: dict[str, Any] = {name: scaled(getattr(base, name)) for name in ("eval_image_size", "eval_resize")}
    if growing := progressive_sizes(base.progressive):
        low, high = map(scaled, growing)
        sizes["progressive"] = f"{low}:{high}" if high else ""
    return dataclasses.replace(config, **{name: size for name, size in sizes.items() if not is_given(argv, name)})


def refuse_given(options: Any, names: Sequence[str], purpose: str) -> None:
    """Refuse options that would have no effect.

    Args:
        options: a dataclass.
        names: of its fields.
        purpose: what they are for.

    Raises:
        InputError: one has another value than its default.
    """
    usual = {field.name: field.default for field in dataclasses.fields(options)}
    if given := [f"--{name}" for name in names if getattr(options, name) != usual[name]]:
        are, them = ("is", "it") if len(given) == 1 else ("are", "them")
        raise InputError(f"{', '.join(given)} {are} {purpose}; leave {them} out")


def value_of(argv: Sequence[str], name: str, default: str) -> str:
    """Return the value of an option on a command line, the last one where it is repeated."""
    for i, argument in reversed(list(enumerate(map(with_underscores, argv)))):
        if argument == f"--{name}" and i + 1 < len(argv):
            return argv[i + 1]
        if argument.startswith(f"--{name}="):
            return argument.partition("=")[2]
    return default


def is_given(argv: Sequence[str], name: str) -> bool:
    """Return whether an option is on a command line, with an empty value or any other."""
    return any(with_underscores(argument).partition("=")[0] == f"--{name}" for argument in argv)


def with_underscores(argument: str) -> str:
    """Return an argument with its option's name as the package writes it: --image-size=160 is --image_size=160."""
    if not argument.startswith("--"):
        return argument
    name, sign, value = argument.partition("=")
    return f"--{name[2:].replace('-', '_')}{sign}{value}"


def run_command(command: Callable[[Sequence[str]], None], argv: Sequence[str] | None = None) -> None:
    """Run a command and leave the process with its exit status (`errors`).

    An error that the user can mend is one line on standard error; `--debug` prints its traceback too.
    """
    argv = sys.argv[1:] if argv is None else argv
    debug = "--debug=True" in argv or any(a == "--debug" and b != "False" for a, b in pairwise([*argv, ""]))
    enable_cache()
    status = DONE
    try:
        if program.begun():
            signals.interrupt()
        with ending_together(debug=debug):
            command(argv)
    except (Exception, KeyboardInterrupt) as error:
        _, status = report(error, debug=debug)
    program.say_what_output_lost()
    if program.begun():  # nothing is left that a signal could stop, or that could be said of it
        signals.end_at_once(status)
    sys.exit(status)
