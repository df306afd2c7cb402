"""The line that says how many networks were compared with their originals."""

from collections import defaultdict

# "logits", "stages", "training mode", "three steps" -> names of networks. A test that fails says so by itself.
COMPARED: dict[str, set[str]] = defaultdict(set)


def pytest_terminal_summary(terminalreporter):
    if COMPARED:
        counts = ", ".join(f"{len(names)} at {check}" for check, names in COMPARED.items())
        terminalreporter.write_line(f"networks compared with their originals: {counts}")
