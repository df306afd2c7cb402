"""Batches, as the data pipeline and the training step share them: their type, and one of several in one."""

from typing import Any

# Arrays by name, whose first axis is B, the global batch size: "image" float32 [B,H,W,C] (uint8 before preprocessing),
# "label" int32 [B], "mask" float32 [B], which is 1 for examples that count and 0 for padding; "target" float32 [B,K]
# where examples are mixed, and "teacher" float32 [B,K], a teacher's logits. "steps" and "requests" stand in a chunk of
# several steps, and what the device holds throughout the training has no axis B.
Batch = dict[str, Any]

# The label of a pixel that does not count, in masks "label" int32 [B,H,W] or [B,H,W,K].
IGNORE = 255


def batch_of_stack(stack: Batch, number: Any) -> Batch:
    """Return one batch of several in one, {"steps", "requests": arrays [N,B], …}: {"request": arrays [B], …}."""
    shared = {name: value for name, value in stack.items() if name not in ("steps", "requests")}
    return {**shared, "request": {name: rows[number] for name, rows in stack["requests"].items()}}
