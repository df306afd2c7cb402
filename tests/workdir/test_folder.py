"""The record of a run: the code's commit and versions."""

import subprocess

from resnet_jax.config.options import Config
from resnet_jax.workdir import folder


def test_an_installed_package_in_another_projects_checkout_has_no_commit(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "another project"]):
        subprocess.run([*git, *command], check=True)
    installed = tmp_path / "venv" / "folder.py"
    installed.parent.mkdir()
    installed.touch()
    monkeypatch.setattr(folder, "__file__", str(installed))
    assert folder.git_commit() is None


def test_a_package_that_was_not_installed_has_no_version():
    found = folder.versions(("jax", "unpacked-by-hand"))
    assert found.keys() == {"resnet_jax", "jax", "unpacked-by-hand"}
    assert found["jax"] is not None
    assert found["unpacked-by-hand"] is None


def test_weights_of_a_relative_path_are_found_from_any_folder(tmp_path, monkeypatch):
    (tmp_path / "weights.npz").touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colors.txt").write_text("")
    config = folder.with_absolute_paths(
        Config(init_from="weights.npz", teacher="timm/resnet50.a1_in1k", colors="colors.txt")
    )
    assert config.colors == str(tmp_path / "colors.txt")
    assert config.init_from == str(tmp_path / "weights.npz")
    assert config.teacher == "timm/resnet50.a1_in1k"


def test_a_checkout_has_the_commit_of_its_files(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.example"]
    (tmp_path / "folder.py").touch()
    for command in (["init", "-q"], ["add", "folder.py"], ["commit", "-q", "-m", "ours"]):
        subprocess.run([*git, *command], check=True)
    monkeypatch.setattr(folder, "__file__", str(tmp_path / "folder.py"))
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert folder.git_commit() == head
    (tmp_path / "folder.py").write_text("changed")
    assert folder.git_commit() == f"{head}+"
