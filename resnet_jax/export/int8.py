"""Quantization of an ONNX file to 8-bit integers, by onnxruntime, with ranges measured on pictures."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class Pictures(CalibrationDataReader):
    """Pictures one by one, as onnxruntime asks for them."""

    def __init__(self, images: np.ndarray):
        self._rest = iter(images)

    def get_next(self) -> Any:
        """Return the next picture as {"image": [1,…]}, or None behind the last."""
        image = next(self._rest, None)
        return None if image is None else {"image": image[None]}


def quantize(proto: onnx.ModelProto, images: np.ndarray, out: Path) -> None:
    """Write a network whose kernels and activations are 8-bit integers.

    Each output channel of a kernel has its own scale. Kernels have 7 bits, because the sums of two products of 8 bits
    overflow on x86 processors without VNNI; so the file is right on each.

    Args:
        proto: the network.
        images: pictures as it takes them, whose activations give the ranges.
        out: the file.
    """
    with _without_advice():
        quantize_static(
            proto,
            out,
            Pictures(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


@contextmanager
def _without_advice() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # on its own preprocessing, which this graph does not need
    try:
        yield
    finally:
        logging.disable(before)
