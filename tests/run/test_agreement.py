"""Processes that differ: named before the first step, and before a state that only some of them have is saved.

Two threads stand for two processes, with a dictionary for the store that the first process keeps for all.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import pytest

from resnet_jax.config.options import Config
from resnet_jax.errors import InputError, StalledRunError
from resnet_jax.run import agreement, record
from resnet_jax.run.agreement import check_same_config, check_same_data, check_same_state, compared, digest_of_code
from resnet_jax.run.train import train
from resnet_jax.runtime import distributed
from tests.faults.toy import config, photographs

process = threading.local()


class Store:
    """A key-value store in which, as in JAX's, a key is set once and reading one waits for it."""

    def __init__(self):
        self.values: dict[str, str] = {}
        self.changed = threading.Condition()

    def key_value_set(self, key: str, value: str) -> None:
        with self.changed:
            assert key not in self.values, f"{key} is set again"
            self.values[key] = value
            self.changed.notify_all()

    def blocking_key_value_get(self, key: str, milliseconds: int) -> str:
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.values, timeout=20), f"nobody sets {key}"
            return self.values[key]


class Processes:
    """What `global_state` says in each of the two."""

    num_processes = 2

    def __init__(self):
        self.client = Store()

    @property
    def process_id(self) -> int:
        return process.number


@pytest.fixture
def two(monkeypatch) -> Callable[..., list[Any]]:
    """Call a function in two processes, with the number of each; return its two values or errors."""
    state = Processes()
    monkeypatch.setattr(distributed, "global_state", state)
    monkeypatch.setattr(jax, "process_count", lambda: 2)

    def in_process(number: int, function: Callable[[int], Any]) -> Any:
        process.number = number
        try:
            return function(number)
        except Exception as error:
            return error

    def in_both(function: Callable[[int], Any]) -> list[Any]:
        with ThreadPoolExecutor(max_workers=2) as threads:
            return list(threads.map(in_process, range(2), [function] * 2))

    return in_both


def assert_refused(outcomes: list[Any], *says: str, error: type[Exception] = InputError) -> None:
    """Both end with one and the same line."""
    assert [type(outcome) for outcome in outcomes] == [error, error], outcomes
    first, second = map(str, outcomes)
    assert first == second
    assert first.startswith("the processes of the run differ: ")
    assert "\n" not in first
    for part in says:
        assert part in first


@pytest.mark.parametrize(
    ("option", "values"),
    [
        ("seed", (0, 1)),
        ("learning_rate", (0.1, 0.2)),
        ("weight_decay", (0.0001, 0.0005)),
        ("batch_size", (128, 64)),
        ("eval_every", (10, 20)),
        ("mean", ((0.4, 0.4, 0.4), (0.5, 0.5, 0.5))),
        ("workdir", ("/runs/a", "/runs/b")),
    ],
)
def test_other_options_are_named(two, option, values):
    outcomes = two(lambda number: check_same_config(replace(Config(), **{option: values[number]})))
    assert_refused(outcomes, f"differ: --{option} is {values[0]} in process 0, {values[1]} in process 1")


def test_what_is_each_processs_own_may_differ(two):
    here = Path.cwd()
    own = [
        Config(workdir="runs/a", data_dir="/a", num_workers=2, process_id=0),
        Config(workdir=str(here / "runs/a"), data_dir="/b", num_workers=3, process_id=1, stall_minutes=1),
    ]
    assert two(lambda number: check_same_config(own[number])) == [None, None]


@pytest.mark.parametrize(
    ("function", "values", "says"),
    [
        ("digest_of_code", ("11", "22"), "the code of resnet_jax is 11 in process 0, 22 in process 1"),
        ("git_commit", ("aa", "bb+"), "the git commit is aa in process 0, bb+ in process 1"),
        ("versions", ({"jax": "1"}, {"jax": "2"}), "the version of jax is 1 in process 0, 2 in process 1"),
    ],
)
def test_other_code_is_named(two, monkeypatch, function, values, says):
    monkeypatch.setattr(agreement, function, lambda: values[process.number])
    assert_refused(two(lambda number: check_same_config(Config())), says)


def test_the_digest_of_code_knows_names_and_content_and_not_the_place(tmp_path, monkeypatch):
    def digest(place: str, **files: str) -> str:
        package = tmp_path / place
        (package / "layers").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        for name, text in files.items():
            (package / "layers" / f"{name}.py").write_text(text)
        monkeypatch.setattr(agreement.resnet_jax, "__file__", str(package / "__init__.py"))
        return digest_of_code()

    first = digest("a", norm="epsilon = 1e-5", conv="")
    assert digest("b", norm="epsilon = 1e-5", conv="") == first
    assert digest("c", norm="epsilon = 1e-3", conv="") != first
    assert digest("d", norms="epsilon = 1e-5", conv="") != first
    assert digest("e", norm="epsilon = 1e-5") != first


DATA = {
    "num_train": 12,
    "num_test": 12,
    "class_names": ("dark", "light"),
    "train_examples": "1a",
    "test_examples": "2b",
    "mask_content": "",
}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_train": 11}, "the number of training images is 12 in process 0, 11 in process 1"),
        ({"num_test": 11}, "the number of test images is 12 in process 0, 11 in process 1"),
        ({"class_names": ("dark",)}, "the number of classes is 2 in process 0, 1 in process 1"),
        ({"class_names": ("dark", "bright")}, "the digest of the class names is "),
        ({"class_names": ("light", "dark")}, "the digest of the class names is "),
        ({"train_examples": "1c"}, "the digest of the training images' names is 1a in process 0, 1c in process 1"),
        ({"test_examples": "2c"}, "the digest of the test images' names is 2b in process 0, 2c in process 1"),
        ({"mask_content": "3d"}, "the digest of the masks is  in process 0, 3d in process 1"),
    ],
)
def test_other_data_are_named(two, changes, says):
    def of(number: int) -> Any:
        return SimpleNamespace(**(DATA | changes if number else DATA))

    assert_refused(two(lambda number: check_same_data(of(number))), says)


def test_equal_data_go_on(two):
    data: Any = SimpleNamespace(**DATA)
    assert two(lambda number: check_same_data(data)) == [None, None]


def steps(rates: tuple[float, float]) -> Callable[[int], Any]:
    """Return a function that makes the first two steps of a process, by a compared program of its rate."""

    def first_steps(number: int) -> Any:
        def step(weights, gradient):
            return weights - rates[number] * gradient

        compiled = jax.jit(step)
        step_at: Any = compared(lambda number: compiled)
        weights = jnp.ones(3)
        for at in (1, 2):
            weights = step_at(at)(weights, jnp.ones(3))
        return weights.tolist()

    return first_steps


def test_another_program_is_named_before_its_first_step(two):
    assert_refused(two(steps((0.5, 0.25))), "the lowered step is ")


def test_equal_programs_go_on_and_are_compared_once(two):
    assert two(steps((0.5, 0.5))) == [[0, 0, 0], [0, 0, 0]]
    store: Any = distributed.global_state.client
    assert sum("/verdict" in key for key in store.values) == 1


def test_another_state_ends_the_run_as_stalled_and_the_same_goes_on(two):
    assert two(lambda number: check_same_state(10, "ab")) == [None, None]
    outcomes = two(lambda number: check_same_state(20, f"c{number}"))
    says = "the state after step 20 is c0 in process 0, c1 in process 1; it is not saved, and the same command"
    assert_refused(outcomes, says, error=StalledRunError)


@pytest.mark.parametrize("differ", [False, True])
def test_a_state_that_only_some_have_is_not_saved(two, monkeypatch, differ):
    monkeypatch.setattr(record, "checkpoint_content", lambda run, state, sums: {"state": state})
    written: list[int] = []
    saves: Any = SimpleNamespace(write=lambda step, *arguments, **facts: written.append(step))

    def save(number: int) -> None:
        run, weights = cast(Any, None), cast(Any, jnp.full(3, number if differ else 7))
        record.write_checkpoint(run, saves, 4, weights, {}, log=[], skipped=[])

    outcomes = two(save)
    assert [type(outcome) for outcome in outcomes] == [StalledRunError if differ else type(None)] * 2, outcomes
    assert written == ([] if differ else [4, 4])


def test_a_training_compares_config_and_data_before_it_takes_the_folder(tmp_path, monkeypatch):
    photographs(tmp_path)
    topics = []

    def check_equal(topic: str, facts: Callable[[], Any]) -> None:
        facts()
        topics.append(topic)
        if topic == "data":
            raise InputError("the processes of the run differ")

    monkeypatch.setattr(agreement, "check_equal", check_equal)
    with pytest.raises(InputError, match="the processes of the run differ"):
        train(config(tmp_path))
    assert topics == ["config", "data"]
    assert not (tmp_path / "run" / "config.json").exists()
