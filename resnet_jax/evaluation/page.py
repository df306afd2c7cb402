"""Pages from templates: one HTML file each, which needs no other."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from resnet_jax.errors import InputError
from resnet_jax.files.atomic import write_atomically
from resnet_jax.workdir.folder import git_commit, versions


@dataclass(frozen=True)
class Origin:
    """Origin of a page.

    Attributes:
        command: that made it.
        versions: of the packages.
        commit: of the code; None outside a checkout.
        date: and time.
    """

    command: str
    versions: dict[str, str | None]
    commit: str | None
    date: str


def name_of_split(name: str, split: str) -> str:
    """Return the name of a report's file: NAME for the validation images, "STEM-SPLIT.…" for others."""
    path = Path(name)
    return name if split == "val" else f"{path.stem}-{split}{path.suffix}"


def origin_of(command: str) -> Origin:
    """Return the origin of a page that a command makes now."""
    return Origin(command, versions(), git_commit(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))


def render(template: str, **values: Any) -> str:
    """Return a template of evaluation/templates filled with values; text is escaped, what is marked safe is not."""
    environment = Environment(
        loader=PackageLoader("resnet_jax.evaluation"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number, "width": width}
    return environment.get_template(template).render(**values)


def percent(value: float, digits: int = 1) -> str:
    """Return a fraction as text in percent, such as 95.4 %, which does not break over two lines; a dash for NaN."""
    if math.isnan(value):
        return "\N{EN DASH}"
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def width(value: float) -> str:
    """Return a fraction as a length of CSS."""
    return f"{100 * value:.1f}%"


def number(value: int) -> str:
    """Return an integer with commas between thousands."""
    return f"{value:,}"


def check_page(path: Path, option: str = "out") -> None:
    """Refuse a page that could not be written, before anything is computed for it.

    Args:
        path: of the page.
        option: that names it.

    Raises:
        InputError: there is no folder for it, or it is a folder or has the ending of a file that lies beside pages.
    """
    if not path.parent.is_dir():
        raise InputError(f"--{option}={path}: there is no folder {path.parent}; make it, or name another")
    if path.is_dir() or path.suffix in (".csv", ".json"):  # the endings of what is written beside it
        raise InputError(f"--{option}={path} is not a page; name a file, --{option}=FOLDER/report.html")


def write_page(path: Path, html: str) -> None:
    """Write or replace a page, atomically.

    Raises:
        InputError: it cannot be written.
    """
    try:
        write_atomically(path, html)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); make room, or name another file") from error
