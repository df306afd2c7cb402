"""The pages name files that exist, link to pages that exist, and show Python that runs."""

import ast
import re
import textwrap
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import resnet_jax
from resnet_jax.models.resnet import blocks as resnet_blocks
from resnet_jax.models.resnet.variants import cifar_resnet

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("resnet_jax", "experiments", "tests", "docs", "notebooks")
FILES = [f"/{p.relative_to(ROOT)}" for folder in FOLDERS for p in [ROOT / folder, *(ROOT / folder).rglob("*")]]
RUN_FOLDERS = {"checkpoints/", "tensorboard/"}  # folders that a training writes


def ids(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_file_and_folder_that_a_page_names_exists(page):
    named = re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py|(?:[a-z_0-9]+/)+)`", page.read_text())
    ends = {f"/{name.rstrip('/')}" for name in named if name not in RUN_FOLDERS}
    assert not [end for end in ends if not any(file.endswith(end) for file in FILES)]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_to_a_page_resolves(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def blocks(page: Path) -> list[str]:
    """The Python of a page."""
    found = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return [textwrap.dedent(block) for block in found]


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "notebooks" / "README.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_what_a_page_imports_can_be_imported(page):
    for block in blocks(page):
        for node in ast.parse(block).body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                exec(ast.unparse(node), {})


def test_the_block_of_ones_own_is_a_network_as_it_stands():
    (block,) = blocks(ROOT / "CONTRIBUTING.md")
    names = dict(vars(resnet_blocks))
    exec(block, names)
    model = cifar_resnet(8, block=names["ReZeroBlock"])
    variables: Any = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))
    assert variables["params"]["stage3_block01"]["weight"].shape == ()


@pytest.mark.slow
def test_the_blocks_of_the_readme_run_as_they_stand(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resnet_jax, "load_pretrained", random_weights, raising=False)
    run, networks = blocks(ROOT / "README.md")
    names: dict[str, Any] = {}
    exec(run, names)
    result, scores, predictions = names["main"]()
    assert result["top1"] == scores["top1"] > 0.5
    assert predictions[0]["image"] == "runs/mine/curves.png"
    names = {}
    exec(networks, names)
    assert names["outputs"]["logits"].shape == (1, 10)


def random_weights(name: str, *, num_classes: int) -> Any:
    """In place of the hub's, which tests do without."""
    model = resnet_jax.create_model(name, num_classes=num_classes)
    return jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
