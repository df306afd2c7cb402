"""Docstrings open as DESIGN has it: a function's with a verb (`ruff` has D401 for this), a class's with a noun."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = [path for folder in ("resnet_jax", "experiments") for path in sorted((ROOT / folder).rglob("*.py"))]
NODES = [(path, node) for path in FILES for node in ast.walk(ast.parse(path.read_text()))]


def openings(kind) -> dict[str, str]:
    """The first lines of the docstrings of functions or classes, by file and name; properties are not functions."""
    return {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": text.partition("\n")[0]
        for path, node in NODES
        if isinstance(node, kind)
        and (text := ast.get_docstring(node))
        and not any(isinstance(d, ast.Name) and d.id == "property" for d in node.decorator_list)
    }


def first_word(line: str) -> str:
    return re.split(r"[\s,.:;]", line, maxsplit=1)[0]


FUNCTIONS = openings(ast.FunctionDef)


def test_a_functions_docstring_opens_with_an_imperative():
    """What D401 does not know: nouns in the plural, which end as verbs in the third person do."""
    assert not {where: line for where, line in FUNCTIONS.items() if re.fullmatch(r"\w*[^s]s", first_word(line))}
    assert not {where: line for where, line in FUNCTIONS.items() if not first_word(line).isalpha()}


# Words that are verbs of functions, and nouns where classes open with them.
NOUNS = {"Run", "Saves", "Transfer", "Weights"}


def test_a_classs_docstring_opens_with_a_noun():
    """With no verb that functions open with, in either form, and with no shape."""
    verbs = {first_word(line) for line in FUNCTIONS.values()} | {"Append", "Zero"}
    verbs |= {f"{verb}{ending}" for verb in verbs for ending in ("s", "es")}
    classes = openings(ast.ClassDef)
    assert not {where: line for where, line in classes.items() if first_word(line) in verbs - NOUNS}
    assert not {where: line for where, line in classes.items() if re.match(r"(Images )?\[", line)}
