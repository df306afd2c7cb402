"""The rooms and what each may import: one table, which fails by the name of the file that breaks it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "resnet_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}

# What the files of each room may import of the package, besides their own room and `errors`. A line with a dot allows
# one module of a room, and a line for one file adds to its room's.
EVERYTHING = ROOMS | {"cli"}
MAY_IMPORT = {
    "files": set(),
    "ops": set(),
    "recipes": set(),
    "runtime": set(),
    "config": {"recipes"},
    "layers": {"ops"},
    "models": {"layers", "ops"},
    "data": {"files", "runtime"},
    "optim": set(),
    "training": {"optim", "runtime"},
    "tasks": {"training", "runtime"},
    "workdir": {"config", "files"},
    "weights": {"models", "data.preprocessing", "files"},
    "analysis": {"models", "layers", "files"},
    "inference": {"weights", "models", "optim", "training", "data", "layers", "workdir", "runtime", "tasks", "files"},
    "evaluation": {"inference", "data", "training", "tasks", "layers", "runtime", "analysis", "workdir", "files"},
    "export": {"inference", "evaluation", "models", "weights", "data", "ops", "workdir", "files"},
    "run": EVERYTHING - {"evaluation", "export", "studies", "benchmark", "cli"},
    "studies": EVERYTHING,
    "benchmark": EVERYTHING,
    # The root: the public names, and command lines.
    "__init__": EVERYTHING,
    "cli": {"config", "recipes", "runtime"},
    "errors": set(),
    # The doors: the only files of their rooms that know the config.
    "data/build": {"config"},
    "data/build_masks": {"config"},
    "data/build_sizes": {"config"},
    "tasks/build": {"config"},
    "models/build": {"config"},
    "optim/build": {"config"},
    "inference/restore": {"config"},
}

# A heavy dependency, and the only files or rooms that import it.
OWNERS = {
    "grain": ["data"],
    "tensorflow_datasets": ["data"],
    "orbax": ["workdir/checkpoint.py"],
    "matplotlib": ["analysis/plots/canvas.py"],
    "jinja2": ["evaluation/page.py"],
    "safetensors": ["weights"],
    "huggingface_hub": ["weights", "export/model_card.py"],
    "onnx": ["export"],
    "onnxruntime": ["export"],
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
    return imported(path.read_text(encoding="utf-8"), ".".join(path.parent.relative_to(ROOT).parts))


def allowed(path: Path) -> set[str]:
    """Return the parts of the package that a file may import."""
    inside = path.relative_to(PACKAGE)
    room = inside.parts[0].removesuffix(".py")
    return {room, "errors"} | MAY_IMPORT[room] | MAY_IMPORT.get(str(inside.with_suffix("")), set())


def against_the_table(path: Path, names: set[str]) -> list[str]:
    """Return the imported names that the table does not allow a file."""
    ours = [name.removeprefix("resnet_jax.") for name in names if name.startswith("resnet_jax.")]
    known = allowed(path)
    # `from resnet_jax.a import b` is seen as a and as a.b: what allows a.b allows its first part too.
    return sorted(
        name
        for name in ours
        if not any(name == k or name.startswith(f"{k}.") or k.startswith(f"{name}.") for k in known)
    )


def test_every_room_has_a_line():
    assert set(MAY_IMPORT) >= ROOMS
    assert not [line for line in MAY_IMPORT if not (PACKAGE / line).is_dir() and not (PACKAGE / f"{line}.py").exists()]


def test_the_root_holds_three_files():
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "cli.py", "errors.py"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_only_what_the_table_allows(path):
    wrong = against_the_table(path, imports_of(path))
    assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("data/loader.py", "from resnet_jax.config import Config"),
        ("ops/max_pool.py", "from resnet_jax.layers import conv"),
        ("weights/formats.py", "from resnet_jax.data import decode"),
        ("training/loop.py", "from resnet_jax.workdir.checkpoint import save"),
        ("run/train.py", "from resnet_jax.evaluation.evaluate import evaluate"),
        ("cli.py", "from resnet_jax.run import train"),
    ],
)
def test_an_import_against_the_table_is_seen(file, line):
    assert against_the_table(PACKAGE / file, imported(line, "resnet_jax"))


def test_rooms_form_no_cycle():
    whole = {room: {name for name in MAY_IMPORT[room] if "." not in name} & ROOMS for room in ROOMS}
    todo = ROOMS - {"studies", "benchmark"}  # these stand above all others, and nothing below may import them
    assert not [room for room in todo if whole[room] & {"studies", "benchmark"}]
    while todo:
        free = {room for room in todo if not (whole[room] - {room}) & todo}
        assert free, f"rooms that may import each other: {sorted(todo)}"
        todo -= free


@pytest.mark.parametrize("dependency", sorted(OWNERS))
def test_a_heavy_dependency_is_imported_by_its_owner_alone(dependency):
    owners = {PACKAGE / owner for owner in OWNERS[dependency]}
    files = [*FILES, *(ROOT / "experiments").rglob("*.py")]
    users = [p for p in files if any(name.split(".")[0] == dependency for name in imports_of(p))]
    strangers = [str(p.relative_to(ROOT)) for p in users if not owners & {p, *p.parents}]
    assert not strangers, f"{dependency} belongs to {', '.join(OWNERS[dependency])}, not to {strangers}"


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
