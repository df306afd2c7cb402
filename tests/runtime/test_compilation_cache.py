"""A command that has run before compiles nothing and gives the same numbers; its folder stays small and whole."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import pytest

from resnet_jax.runtime.compilation_cache import cache_folder, enable_cache, remove_oldest, remove_torn

# A whole run, in a process of its own, and what jax reports about the cache in it.
COUNTED = """
import collections, json, sys, jax
events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event.rpartition("/")[2]]))
from experiments import quickstart
from resnet_jax.cli import run_command
try:
    run_command(quickstart.main)
finally:
    print(json.dumps({name: events[name] for name in ("compile_requests_use_cache", "cache_hits", "cache_misses")}))
"""
# Without what the test run itself says of a cache: where it is and what it takes.
CACHE = ("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(CACHE)} | {"XLA_FLAGS": ""}
TOY = ["--width=2", "--image_size=8", "--steps=3", "--log_every=2"]


def run(workdir, **variables):
    """The events of a run, its printed lines, and its result."""
    command = [sys.executable, "-W", "error::UserWarning", "-c", COUNTED, f"--workdir={workdir}", *TOY]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        env=ENVIRONMENT | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    *lines, events = done.stdout.splitlines()
    return json.loads(events), lines, json.loads((workdir / "result.json").read_text())


def complaints(lines):
    """Python's warnings, and what XLA says of a program that was made for another machine."""
    return [line for line in lines if "Warning:" in line or "machine" in line or "compilation cache" in line]


@pytest.mark.slow
def test_the_second_start_compiles_nothing_and_trains_the_same(tmp_path):
    first, _, fresh = run(tmp_path / "first", XDG_CACHE_HOME=str(tmp_path))
    assert first["cache_misses"] > 10
    kept = list((tmp_path / "resnet_jax" / "xla").glob("*-cache"))
    assert len(kept) == first["cache_misses"]

    second, lines, stored = run(tmp_path / "second", XDG_CACHE_HOME=str(tmp_path))
    assert second["cache_misses"] == 0
    assert second["cache_hits"] == second["compile_requests_use_cache"] > 10
    for number in ("fingerprint", "loss", "top1"):
        assert stored[number] == fresh[number]
    assert not complaints(lines)


@pytest.mark.slow
@pytest.mark.parametrize("variable", ["JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME"])
def test_a_cache_switched_off_or_in_a_folder_that_cannot_be_is_done_without_in_silence(variable, tmp_path):
    value = {"JAX_COMPILATION_CACHE_DIR": "", "XDG_CACHE_HOME": "/proc/nothing"}[variable]
    events, lines, _ = run(tmp_path, **{variable: value})
    assert (events["cache_hits"], events["cache_misses"]) == (0, 0)
    assert not complaints(lines)


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"XDG_CACHE_HOME": "caches"}, "caches/resnet_jax/xla"),
        ({"XDG_CACHE_HOME": ""}, "home/.cache/resnet_jax/xla"),
        ({}, "home/.cache/resnet_jax/xla"),
        ({"XDG_CACHE_HOME": "/proc/nothing"}, None),
    ],
)
def test_where_the_programs_are(environment, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "home", lambda: Path("home"))
    assert cache_folder(environment) == (Path(folder) if folder else None)
    assert folder is None or Path(folder).is_dir()


@pytest.fixture
def settings():
    """The values of jax's options, put back afterwards."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    yield lambda: tuple(jax.config.values[name] for name in names)
    for name, value in before.items():
        jax.config.update(name, value)


def test_what_jax_was_told_by_its_own_variables_holds(settings, monkeypatch):
    theirs = {"jax_compilation_cache_dir": "theirs", "jax_persistent_cache_min_compile_time_secs": 7.0}
    for name, value in theirs.items():
        jax.config.update(name, value)
        monkeypatch.setenv(name.upper(), str(value))
    enable_cache()
    assert settings() == ("theirs", 7.0)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    enable_cache()
    assert settings() == (None, 7.0)


def test_several_devices_of_a_cpu_keep_nothing(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    enable_cache()
    assert not settings()[0]
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("XLA_FLAGS", "")
    enable_cache()
    assert settings()[0] == str(tmp_path / "resnet_jax" / "xla")


def written(folder, **sizes):
    """Files of these sizes, each written a second after the one before."""
    for age, (name, size) in enumerate(sizes.items()):
        (folder / name).write_bytes(bytes(size))
        os.utime(folder / name, (age, age))


def test_the_longest_unused_programs_go_until_the_others_fit(tmp_path):
    written(tmp_path, a=40, b=30, c=20, d=10)
    os.utime(tmp_path / "a", (9, 0))  # read since
    remove_oldest(tmp_path, 70)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "c", "d"}
    remove_oldest(tmp_path, 70)
    assert len(list(tmp_path.iterdir())) == 3


def test_programs_of_which_a_part_was_written_go_and_whole_ones_are_looked_at_once(tmp_path, monkeypatch):
    program = zlib.compress(bytes(range(256)) * 9)
    (tmp_path / "whole-cache").write_bytes(program)
    (tmp_path / "torn-cache").write_bytes(program[:-1])
    (tmp_path / "empty-cache").write_bytes(b"")
    (tmp_path / "other").write_bytes(b"")
    remove_torn(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"whole-cache", "other", ".checked"}
    old = (tmp_path / ".checked").stat().st_mtime - 1
    os.utime(tmp_path / "whole-cache", (old, old))
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} is read again"))
    remove_torn(tmp_path)


@pytest.mark.slow
def test_the_benchmark_compiles_anew_and_keeps_nothing(tmp_path):
    toy = ["--mode=compile", "--model=resnet8_cifar", "--image_size=8", "--batch_size=8", "--rounds=1"]
    subprocess.run(
        [sys.executable, "-m", "experiments.benchmark", *toy],
        cwd=Path(__file__).parents[2],
        env=ENVIRONMENT | {"XDG_CACHE_HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert not list(tmp_path.rglob("*-cache"))
