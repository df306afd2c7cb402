"""docs/recipes.md is what `experiments.recipes` prints."""

from pathlib import Path

from experiments import recipes

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"


def test_the_page_is_what_is_printed(capsys):
    recipes.main(["--markdown"])
    printed = capsys.readouterr().out
    assert PAGE.read_text() == printed, "python -m experiments.recipes --markdown > docs/recipes.md"


def test_every_recipe_is_listed_with_its_settings(capsys):
    recipes.main([])
    printed = " ".join(capsys.readouterr().out.split())
    for name in (*recipes.IMAGENET, *recipes.CIFAR):
        assert f"{name}: " in printed
    assert "--auto_augment=rand-m6-mstd0.5-inc1" in printed
