"""The measurements of one GPU, in the order of their worth, within the minutes that there are.

    python docs/measurements/gpu.py --out=DIR --minutes=8 --data_dir=CIFAR

CIFAR is the folder of the binary version of CIFAR-10; without it its parts are left out.
Every part writes DIR/PART.json; one that no longer fits the minutes is skipped, and one that fails says why. The last
thing printed is one Markdown table. Programs that are compared are compiled once each and sampled in turn; PyTorch's
are processes of their own (torch_step.py). --toy runs every part at a size for a CPU; --parts names some.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gpu_speed
import gpu_training
import jax
from gpu_speed import Sizes

from resnet_jax.benchmark.roofline import measure_roofline
from resnet_jax.files.markdown_table import markdown_table
from resnet_jax.runtime.compilation_cache import enable_cache
from resnet_jax.workdir.folder import git_commit, versions

Row = tuple[str, str]  # what, and the figure


@dataclass(frozen=True)
class Part:
    """A measurement.

    Attributes:
        seconds: that it needs on an H100, about, compilation included.
        measure: returns what it writes, from the sizes and the folder.
        rows: of the last table, from what it wrote.
    """

    seconds: float
    measure: Callable[[Sizes, Path], dict[str, Any]]
    rows: Callable[[dict[str, Any]], list[Row]]


PARTS: dict[str, Part] = {
    "parity": Part(90, gpu_training.parity, gpu_training.parity_rows),
    "train": Part(100, gpu_speed.train, partial(gpu_speed.speed_rows, "ResNet-50 training, bf16")),
    "small": Part(110, gpu_speed.small, partial(gpu_speed.speed_rows, "ResNet-20 training, batch 128")),
    "airbench": Part(80, gpu_training.airbench, gpu_training.airbench_rows),
    "he2015": Part(60, gpu_training.he2015, gpu_training.he2015_rows),
    "infer": Part(60, gpu_speed.infer, partial(gpu_speed.speed_rows, "ResNet-50 inference, bf16")),
    "seeds": Part(60, gpu_speed.seeds, partial(gpu_speed.speed_rows, "ResNet-20 training, three seeds")),
    "switches": Part(60, gpu_speed.switches, partial(gpu_speed.speed_rows, "ResNet-50 training, bf16, lowerings")),
}
NEEDS_CIFAR = ("airbench", "he2015")


def facts() -> dict[str, Any]:
    """Return the card and the software."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        card = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        card = "none"
    found = {"card": card, "device": jax.devices()[0].device_kind, "date": time.strftime("%Y-%m-%d")}
    found |= {"commit": git_commit(), "versions": versions(), "flags": os.environ.get("XLA_FLAGS", "")}
    return found | {"roofline": measure_roofline("bfloat16")}


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--data_dir", default="", help="cifar-10-batches-bin")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of them, with commas between")
    parser.add_argument("--toy", action="store_true", help="small enough for a CPU")
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory at the same time
    enable_cache()
    sizes = (gpu_speed.TOY if options.toy else gpu_speed.FULL)._replace(data_dir=options.data_dir, end=end)
    rows: list[Row] = []

    def write(name: str, found: dict[str, Any]) -> None:
        (options.out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        print(f"{name}: {json.dumps(found)}", flush=True)

    known = facts()
    write("facts", known)
    rows.append(("card", f"{known['card']}; {known['device']}"))
    rows.append(("roofline", json.dumps(known["roofline"])))
    for name in options.parts.split(","):
        part, left = PARTS[name], end - time.monotonic()
        if name in NEEDS_CIFAR and not (options.data_dir or options.toy):
            rows.append((name, "skipped: no --data_dir"))
        elif left < part.seconds and not options.toy:
            rows.append((name, f"skipped: {left:.0f} s are left, it needs {part.seconds:.0f}"))
        else:
            began = time.monotonic()
            try:
                found = part.measure(sizes, options.out)
                write(name, found | {"seconds": round(time.monotonic() - began, 1)})
                rows += part.rows(found)
            except Exception as error:
                traceback.print_exc()
                rows.append((name, f"failed: {type(error).__name__}: {str(error).splitlines()[0][:200]}"))
        sys.stdout.flush()
    print(markdown_table(["what", "measured"], [list(row) for row in rows]))


if __name__ == "__main__":
    main()
