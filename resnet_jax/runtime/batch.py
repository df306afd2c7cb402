"""The type of a batch, shared by the data pipeline and the training step."""

from typing import Any

# Arrays by name, whose first axis is B, the global batch size: "image" float32 [B,H,W,C] (uint8 before preprocessing),
# "label" int32 [B], "mask" float32 [B], which is 1 for examples that count and 0 for padding; "target" float32 [B,K]
# where examples are mixed, and "teacher" float32 [B,K], a teacher's logits. "steps" and "requests" stand in a chunk of
# several steps, and what the device holds throughout the training has no axis B.
Batch = dict[str, Any]

# The label of a pixel that does not count, in masks "label" int32 [B,H,W] or [B,H,W,K].
IGNORE = 255
