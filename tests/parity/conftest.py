"""Where the originals are found, and the line that says how many networks were compared with them."""

import os
import sys
from pathlib import Path

PEERS = Path(os.environ.get("RESNET_JAX_TEST_PEERS", Path(__file__).parents[3] / "shared" / "peers"))
if PEERS.is_dir():
    sys.path.append(str(PEERS))


def pytest_terminal_summary(terminalreporter):
    compare = sys.modules.get("compare")
    passed = getattr(compare, "PASSED", {})
    if passed:
        counts = ", ".join(f"{len(names)} at {check}" for check, names in passed.items())
        terminalreporter.write_line(f"networks equal to their originals: {counts}")
