"""Where the originals are found, and the line that says how many networks were compared with them."""

import os
import sys
from collections import defaultdict
from pathlib import Path

PEERS = Path(os.environ.get("RESNET_JAX_TEST_PEERS", Path(__file__).parents[3] / "shared" / "peers"))
if PEERS.is_dir():
    sys.path.append(str(PEERS))


# What passed: "logits", "stages", "training mode", "three steps" -> names of networks.
PASSED: dict[str, set[str]] = defaultdict(set)


def pytest_terminal_summary(terminalreporter):
    if PASSED:
        counts = ", ".join(f"{len(names)} at {check}" for check, names in PASSED.items())
        terminalreporter.write_line(f"networks equal to their originals: {counts}")
