"""The options of a training, as a report shows them."""

import dataclasses
import shlex
from typing import Any


def changed_options(config: Any) -> tuple[str, ...]:
    """Return the options of a training that differ from the defaults, as on a command line; () for no config."""
    if config is None:
        return ()
    changed = [f for f in dataclasses.fields(config) if getattr(config, f.name) != f.default]
    return tuple(as_option(f.name, getattr(config, f.name)) for f in changed)


def as_option(name: str, value: Any) -> str:
    """Return an option as on a command line."""
    return f"--{name}{_written(value)}"


def _written(value: Any) -> str:
    if isinstance(value, tuple):
        return "".join(f" {shlex.quote(str(part))}" for part in value)
    return f"={shlex.quote(str(value))}"
