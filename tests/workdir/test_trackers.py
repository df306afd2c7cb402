"""TensorBoard and Weights & Biases of a run that is killed and continues."""

import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from resnet_jax.errors import InputError, NonFiniteError
from resnet_jax.workdir.trackers import open_trackers


def row(step: int) -> dict:
    return {"step": step, "split": "train", "loss": float(step)}


def shown(folder) -> list[int]:
    """Steps as TensorBoard shows them: an event file hides later steps of those before it from its own start on."""
    from tensorboardX.proto import event_pb2

    proto: Any = event_pb2  # its classes are made at import

    steps: list[int] = []
    for path in sorted(folder.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = proto.Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            if event.HasField("session_log") and event.session_log.status == proto.SessionLog.START:
                steps = [step for step in steps if step < event.step]
            steps += [event.step for value in event.summary.value if value.tag == "train/loss"]
    return steps


def test_tensorboard_holds_each_step_once_after_a_kill(tmp_path):
    for start, stop in ((0, 8), (5, 10), (0, 3)):  # the last one anew, in a folder of which nothing was saved
        with open_trackers(tmp_path, {}, start, tensorboard=True, wandb=False) as (track,):
            for step in range(start + 1, stop + 1):
                track(row(step))
            expected = list(range(1, stop + 1))
            deadline = time.monotonic() + 30
            while shown(tmp_path / "tensorboard") != expected and time.monotonic() < deadline:
                time.sleep(0.2)
            assert shown(tmp_path / "tensorboard") == expected
        time.sleep(1)  # event files are named by the second


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package, which has one run at a time: the arguments of every `init`."""
    opened: list[dict] = []
    active: list[str] = []

    def finish(exit_code):
        opened[-1]["exit_code"] = exit_code
        active.clear()

    def init(**options):
        assert not active, "another run is open, and would receive the rows of this one"
        active.append(options["id"])
        opened.append(options)
        return SimpleNamespace(log=lambda values, step: None, finish=finish)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    return opened


def test_runs_of_one_name_have_ids_of_their_own_and_keep_them(tmp_path, wandb):
    for folder, start in (("a", 0), ("b", 0), ("a", 5), ("b", 7)):
        (tmp_path / folder / "seed0").mkdir(parents=True, exist_ok=True)
        with open_trackers(tmp_path / folder / "seed0", {}, start, tensorboard=False, wandb=True) as (track,):
            track(row(start + 1))
    ids = [options["id"] for options in wandb]
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]
    assert "seed0" not in ids
    assert {options["name"] for options in wandb} == {"seed0"}


def test_a_run_that_ends_by_an_error_did_not_finish_there(tmp_path, wandb):
    def diverge():
        with open_trackers(tmp_path, {}, 0, tensorboard=False, wandb=True):
            raise NonFiniteError

    with pytest.raises(NonFiniteError):
        diverge()
    with open_trackers(tmp_path, {}, 0, tensorboard=False, wandb=True):
        pass
    assert [options["exit_code"] for options in wandb] == [1, 0]


def test_a_run_that_began_under_its_folders_name_stays_that_run(tmp_path, wandb):
    with open_trackers(tmp_path, {}, 40, tensorboard=False, wandb=True):
        pass
    assert wandb[0]["id"] == tmp_path.name


def test_wandb_without_a_key_is_one_line(tmp_path, monkeypatch):
    def init(**options):
        raise RuntimeError("No API key configured.\nUse `wandb login`")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    trackers = open_trackers(tmp_path, {}, 0, tensorboard=False, wandb=True)
    with pytest.raises(InputError, match=r"^--wandb: No API key configured\.; run `wandb login`[^\n]*$"), trackers:
        pass
