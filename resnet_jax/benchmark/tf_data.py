"""tf.data's fused decode-and-crop, to compare our input pipeline with, where TensorFlow is installed."""

from collections.abc import Callable
from typing import Any

import numpy as np


def fused_batches(files: tuple[bytes, ...], boxes: np.ndarray, size: int) -> Callable[[int], np.ndarray] | None:
    """Return the batches of tf.data as ImageNet trainings use it, on one thread.

    The steps are `decode_and_crop_jpeg`, bilinear `tf.image.resize` and `batch`.

    It resizes without antialiasing, and decodes with its default, the less exact of libjpeg's transforms. The result
    stays float32, which saves it a conversion.

    Args:
        files: JPEGs.
        boxes: int32 [epochs,N,4], top, left, height and width of the crops.
        size: of the result, pixels.

    Returns:
        epoch -> float32 [N,size,size,3], to be called for epochs 0, 1, … in turn; None where TensorFlow is not
        installed.
    """
    try:
        import tensorflow as tf
    except ImportError:
        return None
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    images = tf.constant(list(files))

    def made(index: Any, box: Any) -> Any:
        part = tf.image.decode_and_crop_jpeg(images[index], box, channels=3)
        return tf.image.resize(part, (size, size), method="bilinear")

    indices = np.tile(np.arange(len(files)), len(boxes))
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    options.autotune.enabled = False
    # Otherwise the next batch is made ahead, by threads whose time is counted for the others.
    options.experimental_optimization.apply_default_optimizations = False
    data = tf.data.Dataset.from_tensor_slices((indices, boxes.reshape(-1, 4))).map(made).batch(len(files))
    batches = iter(data.with_options(options))
    return lambda epoch: next(batches).numpy()
