"""Single flipped bits in every file of a run's folder: each is harmless, named or survived, none silently wrong."""

import gc
import json
import random
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from resnet_jax.errors import InputError
from resnet_jax.run.build import build_run
from resnet_jax.run.state import checkpoint_shapes
from resnet_jax.workdir import checkpoint, folder
from resnet_jax.workdir.data_facts import DATA_FACTS
from resnet_jax.workdir.metrics_log import truncate_rows
from tests.faults.toy import config

# Orbax leaves at the first array that it cannot read; its other reads may be collected as garbage before they finish.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def read_all(workdir: Path, target: Any) -> tuple[dict[str, Any], list[str]]:
    """Return all that a run's next start reads in its folder, and the lines that it prints."""
    lines: list[str] = []
    options, facts = folder.read_run_config(workdir)
    with checkpoint.open_manager(workdir / "checkpoints", keep=9) as manager:
        step, tree = checkpoint.restore_newest(manager, target, lines.append) or (0, None)
        sums = checkpoint.stored_record(manager, step).get("log")
    rows = truncate_rows(workdir / "metrics.jsonl", step, sums, lines.append)
    arrays = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]
    known = DATA_FACTS.keys() - {"mask_content"}  # these images have no masks
    facts = {name: facts[name] for name in (*known, "versions", "git_commit")}
    result = folder.read_result(workdir)
    return {"step": step, "arrays": arrays, "rows": rows, "config": options, "facts": facts, "result": result}, lines


@pytest.mark.slow
def test_no_flipped_bit_is_silently_wrong(original, tmp_path, long):
    home = Path(shutil.copytree(original, tmp_path / "whole"))
    (home / "result.json").rename(home / "run" / "result.json")
    target = checkpoint_shapes(build_run(config(home)))
    expected, lines = read_all(home / "run", target)
    assert not lines
    files = sorted(path.relative_to(home / "run") for path in (home / "run").rglob("*") if path.stat().st_size)
    files = [path for path in files if (home / "run" / path).is_file() and path.suffix not in (".png", ".lock")]
    rng = random.Random(0)
    counts = dict.fromkeys(("harmless", "named", "survived"), 0)
    flips = 200 if long else 50
    for number in range(flips):
        workdir = Path(shutil.copytree(home / "run", tmp_path / str(number)))
        # Every second one in the small files, which the checkpoints' many files would leave out.
        small = [path for path in files if len(path.parts) == 1]
        path = workdir / rng.choice(small if number % 2 else files)
        data = bytearray(path.read_bytes())
        at = rng.randrange(8 * len(data))
        data[at // 8] ^= 1 << at % 8
        path.write_bytes(data)
        try:
            found, lines = read_all(workdir, target)
        except InputError as error:
            counts["named"] += str(error).count("\n") == 0
            continue
        finally:
            shutil.rmtree(workdir)
        if found == expected:
            counts["harmless"] += 1
        else:
            assert lines, (path.relative_to(workdir), at)
            counts["survived"] += 1
    print(json.dumps(counts))
    assert sum(counts.values()) == flips
    assert min(counts["named"], counts["survived"]) >= 1
    gc.collect()  # what Orbax's abandoned reads have to say is said here, and not in another file's tests
