"""What the tests of interrupted runs look at."""

import json
import time

from resnet_jax.workdir.metrics_log import read_rows

# A run of 45 steps in seconds: an eighth of the quickstart's width on images of 8 pixels.
TOY = ["--width=2", "--image_size=8", "--epochs=2", "--log_every=5", "--eval_every=20", "--checkpoint_every=7"]


def metrics(workdir):
    """The rows of a run without what two equal runs differ in: the share of time without a batch."""
    return [{k: v for k, v in row.items() if k != "waiting"} for row in read_rows(workdir / "metrics.jsonl")]


def result(workdir):
    everything = json.loads((workdir / "result.json").read_text())
    return {name: everything[name] for name in ("step", "top1", "loss", "num_examples", "fingerprint")}


def wait_for_line(process, text, timeout=240):
    """Read the process's output up to a line that holds `text`; returns what was read."""
    deadline = time.monotonic() + timeout
    read = ""
    for line in process.stdout:
        read += line
        if text in line:
            return read
        assert time.monotonic() < deadline, f"no {text!r} in {timeout} s:\n{read}"
    raise AssertionError(f"the process ended without {text!r}:\n{read}")


def whole(workdir):
    """The steps of the checkpoints that are written to their end."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdigit())


def wait_for_checkpoint(workdir, timeout=240):
    """Wait until the folder holds a whole checkpoint."""
    deadline = time.monotonic() + timeout
    while not whole(workdir):
        assert time.monotonic() < deadline, f"no checkpoint in {timeout} s"
        time.sleep(0.01)
