"""Help of a command line: the options of a dataclass, one line each, in titled groups.

A base class is a group, titled by its docstring. The help of an option is the first paragraph of the docstring below
its field; further paragraphs are for readers of the code.
"""

import ast
import dataclasses
import inspect
import shutil
import textwrap
from collections.abc import Container, Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

COLUMN = 30  # where the help of an option begins
METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT"}
FOR_ALL = "Defaults are in brackets; --NAME=False turns a switch off; --debug prints tracebacks."


def format_help(
    kind: type, default: Any, description: str, recipes: Mapping[str, str], without: Container[type] = ()
) -> str:
    """Return the help of a command as text, wrapped to the terminal.

    Args:
        kind: dataclass of the options.
        default: instance of `kind` with the defaults to show, or None for the fields' own.
        description: head of the help; its indented paragraphs are commands.
        recipes: one line on each value of --recipe.
        without: base classes of `kind` that are left out.
    """
    groups = dict(_groups(kind, default, without))
    if recipes:
        known = [(f"--recipe={name}", text) for name, text in recipes.items()]
        groups = {"Recipes (with --help: the defaults of the recipe; more: experiments.recipes)": known} | groups
    width = max(60, shutil.get_terminal_size().columns)
    lines = [_head(description, width)]
    for title, options in groups.items():
        lines.append(f"── {title} ".ljust(width, "─"))
        for option, text in options:
            lines += _wrapped(option, text, width)
    return "\n".join(lines)


def _head(description: str, width: int) -> str:
    """Return a description and what holds for all commands, wrapped to a width; indented paragraphs as they are."""
    *paragraphs, last = description.strip().split("\n\n")
    paragraphs += [last, FOR_ALL] if last.startswith(" ") else [f"{last} {FOR_ALL}"]
    return "\n".join(p if p.startswith(" ") else textwrap.fill(" ".join(p.split()), width) for p in paragraphs)


def _groups(kind: type, default: Any, without: Container[type]) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the title and the (option, help) rows of each class that `kind` is made of, in the order of its fields."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    types = get_type_hints(kind, include_extras=True)
    for base in reversed([base for base in kind.__mro__[:-1] if base not in without]):
        texts = _field_docstrings(base)
        rows = []
        for name in [n for n in fields if n in vars(base).get("__annotations__", {}) and n != "debug"]:
            value = getattr(default, name) if default is not None else fields[name].default
            rows.append(_row(name, types[name], texts[name], value))
        if rows:
            yield (inspect.getdoc(base) or "Options").rstrip("."), rows


def _field_docstrings(kind: type) -> dict[str, str]:
    """Return the first paragraph of the string below each field of a class, on one line."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    found = {}
    for field, text in pairwise(tree.body[0].body):  # pyrefly: ignore
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                found[name] = " ".join(docstring.partition("\n\n")[0].split()).rstrip(".")
    return found


def _row(name: str, kind: Any, text: str, value: Any) -> tuple[str, str]:
    """Return an option as it is typed, and its help with choices and default."""
    positional = False
    if get_origin(kind) is Annotated:
        kind, *markers = get_args(kind)
        positional = tyro.conf.Positional in markers
    several = get_origin(kind) is tuple
    inner = get_args(kind) if several else (kind,)
    if get_origin(kind) is Literal:
        text += f" {{{', '.join(filter(None, get_args(kind)))}}}"
    metavar = " ".join("…" if k is ... else METAVARS.get(k, "NAME") for k in inner)
    if value is dataclasses.MISSING:
        text += " (required)"
    elif value not in ("", ()):
        text += f" [{' '.join(map(_shown, value)) if several else _shown(value)}]"
    if positional:
        return name.upper() + (" …" if several else ""), text
    return f"--{name}" if kind is bool else f"--{name} {metavar}", text


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _wrapped(option: str, text: str, width: int) -> list[str]:
    """Return the lines of one option: its help beside it, or below where the option is long."""
    lines = textwrap.wrap(text, width - COLUMN, break_long_words=False, break_on_hyphens=False)
    head = f"  {option:{COLUMN - 3}} "
    first = [head + lines.pop(0)] if len(head) == COLUMN else [head.rstrip()]
    return first + [" " * COLUMN + line for line in lines]
