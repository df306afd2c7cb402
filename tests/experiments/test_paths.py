"""A ~ in any option of any command is the home directory."""

from pathlib import Path

import pytest

from experiments import compare, convert, degradation, evaluate, predict, prepare
from resnet_jax.cli import parse_config, parse_options
from resnet_jax.config.options import Config


@pytest.mark.parametrize(
    ("module", "argv", "paths"),
    [
        (predict, ["--workdir=~/run", "~/a.jpg", "b.jpg"], {"workdir": "HOME/run", "images": ("HOME/a.jpg", "b.jpg")}),
        (evaluate, ["--model=m", "--weights=~/w.pth", "--data_dir=~"], {"weights": "HOME/w.pth", "data_dir": "HOME"}),
        (evaluate, ["--ensemble", "a:~/w.pth", "~/run"], {"ensemble": ("a:HOME/w.pth", "HOME/run")}),
        (prepare, ["--data_dir=~/x", "--out=~/y"], {"data_dir": "HOME/x", "out": "HOME/y"}),
        (convert, ["~/run", "--out=~/w.npz"], {"source": "HOME/run", "out": "HOME/w.npz"}),
        (compare, ["~/a", "b"], {"workdirs": ("HOME/a", "b")}),
        (degradation, ["--workdir=~/study", "--data_dir=d~1"], {"workdir": "HOME/study", "data_dir": "d~1"}),
    ],
)
def test_a_command_expands_its_paths(module, argv, paths, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    options = parse_options(module.Options, argv, "name", "")
    for name, value in paths.items():
        expected = tuple(v.replace("HOME", "/home/somebody") for v in value) if isinstance(value, tuple) else None
        assert getattr(options, name) == (expected or value.replace("HOME", "/home/somebody"))


def test_a_training_expands_its_paths(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    argv = ["--workdir=~/run", "--data_dir=~/data", "--teacher=~/teacher", "--model=resnet18"]
    config = parse_config(argv, "imagenet", "", Config(), recipes={}, family="resnet{depth}")
    assert Path(config.workdir) == Path("/home/somebody/run")
    assert (config.data_dir, config.teacher) == ("/home/somebody/data", "/home/somebody/teacher")
