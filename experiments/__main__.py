"""Commands of this package: `resnet-jax NAME [OPTIONS]` is `python -m experiments.NAME [OPTIONS]`."""

import ast
import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from resnet_jax.cli import run_command
from resnet_jax.errors import InputError

FOLDER = Path(__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def main(argv: Sequence[str]) -> None:
    """Run the command that is named first, or list all of them."""
    if not argv or argv[0] in ("--help", "-h"):
        print("usage: resnet-jax NAME [OPTIONS]; resnet-jax NAME --help shows the options\n")
        for name in NAMES:
            print(f"  {name:12} {summary(name)}")
    elif argv[0] in NAMES:
        import_module(f"experiments.{argv[0]}").main(argv[1:])
    else:
        close = difflib.get_close_matches(argv[0], NAMES, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"there is no command {argv[0]}; {hint}known are: {', '.join(NAMES)}")


def summary(name: str) -> str:
    """Return the first line of a command's help, without importing the command."""
    text = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def console() -> None:
    """Run the console script `resnet-jax`."""
    run_command(main, sys.argv[1:])


if __name__ == "__main__":
    console()
