"""Speed of an exported network in onnxruntime, pair by pair, against another file and against our own inference.

    python -m docs.measurements.torch_export resnet50 torch.onnx  # where PyTorch and torchvision are installed
    taskset -c 0 python docs/measurements/onnx_speed.py --model=resnet50 ours.onnx torch.onnx int8.onnx

Each round runs every candidate once, one after the other, on one image; the ratios are those of a round.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
import onnxruntime

from resnet_jax.inference.fold_batch_norm import fold_batch_norm
from resnet_jax.models.registry import create_model

ROUNDS = 40


def of_file(path: str, image: np.ndarray) -> Callable[[], Any]:
    """Return what runs an ONNX file on an image [1,H,W,3], on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    batch = {session.get_inputs()[0].name: image.transpose(0, 3, 1, 2).copy()}
    return lambda: session.run(None, batch)


def of_ours(name: str, image: np.ndarray) -> Callable[[], Any]:
    """Return what runs a network of ours, normalizations folded, with random weights."""
    model = create_model(name)
    variables = jax.jit(model.init)(jax.random.key(0), image)
    apply, folded = fold_batch_norm(model, variables, image.shape[1])
    compiled = jax.jit(lambda variables, images: apply(variables, images))
    return lambda: jax.block_until_ready(compiled(folded, image))


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print medians and ratios to the first candidate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--model", default="", help="network of ours to run beside them")
    parser.add_argument("--image_size", type=int, default=224)
    options = parser.parse_args(argv)
    image = np.random.default_rng(0).normal(size=(1, options.image_size, options.image_size, 3)).astype(np.float32)
    candidates = {path: of_file(path, image) for path in options.files}
    if options.model:
        candidates[f"our own {options.model}"] = of_ours(options.model, image)
    times = np.zeros((ROUNDS, len(candidates)))
    for _ in range(3):
        for run in candidates.values():
            run()
    for row in times:
        for column, run in enumerate(candidates.values()):
            start = time.perf_counter()
            run()
            row[column] = time.perf_counter() - start
    ratios = times / times[:, :1]
    for column, name in enumerate(candidates):
        low, middle, high = np.percentile(ratios[:, column], [10, 50, 90])
        milliseconds = 1000 * np.median(times[:, column])
        print(f"{name}: {milliseconds:.1f} ms, {middle:.2f} x the first ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
