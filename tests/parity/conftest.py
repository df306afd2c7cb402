"""The line that says how many networks were compared with their originals."""

from collections import defaultdict

import pytest

# "logits", "stages", "training mode", "three steps" -> names of networks. A test that fails says so by itself.
COMPARED: dict[str, set[str]] = defaultdict(set)


def pytest_sessionfinish(session):
    """Hand what this process compared to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["compared"] = {check: sorted(names) for check, names in COMPARED.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    for check, names in getattr(node, "workeroutput", {}).get("compared", {}).items():
        COMPARED[check].update(names)


def pytest_terminal_summary(terminalreporter):
    if COMPARED:
        counts = ", ".join(f"{len(names)} at {check}" for check, names in COMPARED.items())
        terminalreporter.write_line(f"networks compared with their originals: {counts}")
