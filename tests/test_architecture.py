"""Who may import whom: a rule that fails by the name of the file that breaks it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "resnet_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}

# What each room may import of the package; it imports itself and the ground besides. What is not listed here, such as
# `run` and `config`, stands above all but `studies`, which start runs and read their folders, and `benchmark`.
GROUND = {"errors", "drafts", "lock", "markdown"}
MAY_IMPORT = {
    "networks": set(),
    "data": set(),
    "training": set(),
    "evaluation": {"networks", "training"},
    "weights": {"networks"},
    "analysis": {"networks"},
    "recipes": set(),
    "benchmark": {"analysis", "build", "build_state", "calls", "data", "networks", "training"},
    "studies": {"run", "workdir", "config", "training", "networks", "analysis", "recipes"},
}

# A heavy dependency, and the only file or room that imports it.
OWNERS = {
    "grain": "data",
    "tensorflow_datasets": "data",
    "orbax": "training/checkpoint.py",
    "matplotlib": "analysis/plots/canvas.py",
    "safetensors": "weights",
    "huggingface_hub": "weights",
}

FORBIDDEN_NAMES = {"utils", "common", "helpers", "lib", "core", "misc", "manager"}


def imported(source: str, package: str) -> set[str]:
    """Full names of what a module imports, anywhere in it; `from a import b` gives a and a.b.

    Args:
        source: the module's text.
        package: dotted name of the package it lies in, for relative imports.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    return names


def imports_of(path: Path) -> set[str]:
    return imported(path.read_text(), ".".join(path.parent.relative_to(ROOT).parts))


def parts_of_the_package(names: set[str]) -> set[str]:
    """First parts below `resnet_jax` of the names: rooms, modules, or what `__init__` hands on."""
    ours = [name.split(".") for name in names if name.startswith("resnet_jax.")]
    return {parts[1] for parts in ours}


def test_every_room_has_a_rule():
    assert set(MAY_IMPORT) >= ROOMS


@pytest.mark.parametrize("path", [p for p in FILES if p.parent != PACKAGE], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_what_stands_below_it(path):
    room = path.relative_to(PACKAGE).parts[0]
    above = parts_of_the_package(imports_of(path)) - MAY_IMPORT[room] - GROUND - {room}
    assert not above, f"{path.relative_to(ROOT)} imports {sorted(above)}"


@pytest.mark.parametrize("module", sorted(GROUND))
def test_the_ground_stands_below_everything(module):
    assert parts_of_the_package(imports_of(PACKAGE / f"{module}.py")) <= GROUND


@pytest.mark.parametrize("dependency", sorted(OWNERS))
def test_a_heavy_dependency_is_imported_by_its_owner_alone(dependency):
    owner = PACKAGE / OWNERS[dependency]
    files = [*FILES, *(ROOT / "experiments").rglob("*.py")]
    users = [p for p in files if any(name.split(".")[0] == dependency for name in imports_of(p))]
    strangers = [str(p.relative_to(ROOT)) for p in users if owner not in (p, *p.parents)]
    assert not strangers, f"{dependency} belongs to {OWNERS[dependency]}, not to {strangers}"


def test_nothing_is_named_after_what_it_is_not():
    folders = [PACKAGE, *(ROOT / name for name in ("experiments", "notebooks", "tests"))]
    paths = [path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts]
    named = [str(p.relative_to(ROOT)) for p in paths if p.stem in FORBIDDEN_NAMES]
    assert not named


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("import grain.python as g", {"grain.python"}),
        ("from resnet_jax import run", {"resnet_jax", "resnet_jax.run"}),
        ("def f():\n    from resnet_jax.data import x", {"resnet_jax.data", "resnet_jax.data.x"}),
        ("from ..config import Config", {"resnet_jax.config", "resnet_jax.config.Config"}),
        ("from . import layers", {"resnet_jax.networks", "resnet_jax.networks.layers"}),
    ],
)
def test_imports_are_seen_in_every_spelling(line, names):
    assert imported(line, "resnet_jax.networks") == names
