"""The pages name files that exist, and link to pages that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("resnet_jax", "experiments", "tests", "docs", "notebooks")
FILES = [f"/{p.relative_to(ROOT)}" for folder in FOLDERS for p in [ROOT / folder, *(ROOT / folder).rglob("*")]]
OF_A_RUN = {"checkpoints/", "tensorboard/"}  # folders that a training writes


def ids(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_file_and_folder_that_a_page_names_exists(page):
    named = re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py|(?:[a-z_0-9]+/)+)`", page.read_text())
    ends = {f"/{name.rstrip('/')}" for name in named if name not in OF_A_RUN}
    assert not [end for end in ends if not any(file.endswith(end) for file in FILES)]


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_to_a_page_resolves(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]
