"""Logits of an ONNX file, computed by onnxruntime."""

import numpy as np
import onnxruntime

BATCH = 8  # images at once


def logits_of(network: str | bytes, images: np.ndarray) -> np.ndarray:
    """Return the logits of images, [N,K] or of pixels [N,H,W,K].

    Args:
        network: path of the file, or its content.
        images: as the file takes them: float32 [N,3,H,W], or uint8 [N,H,W,3].
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    (entrance,) = session.get_inputs()
    parts = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    logits = np.concatenate([np.asarray(session.run(None, {entrance.name: part})[0]) for part in parts])
    return logits.transpose(0, 2, 3, 1) if logits.ndim == 4 else logits
