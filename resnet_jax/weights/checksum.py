"""The checksum in our own files of tensors, over their metadata and every array."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np

KEY = "sha256"


def checksum(tensors: Mapping[str, np.ndarray], facts: Mapping[str, str]) -> str:
    """Return the SHA-256 of tensors, their names, types and shapes, and of a file's metadata."""
    digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(json.dumps([name, tensor.dtype.name, tensor.shape]).encode())
        digest.update(tensor.view(np.uint8).data if tensor.size and tensor.ndim else tensor.tobytes())
    return digest.hexdigest()


def vectors_digest(tensors: Mapping[str, np.ndarray]) -> str:
    """Return a digest by which a set of weights is known in every format, layout and under every name.

    It is the SHA-256 of all vectors of floating numbers (biases and normalization), which no layout turns.
    """
    vectors = [np.ascontiguousarray(t, np.float32) for t in tensors.values() if t.ndim == 1 and t.dtype == np.float32]
    return hashlib.sha256(b"".join(sorted(hashlib.sha256(v.tobytes()).digest() for v in vectors))).hexdigest()
