"""Every classifier of up to 60 M parameters as ONNX and as StableHLO, at full depth and its own image size: one table.

    python docs/measurements/export_table.py [NAME …] > table.md

Weights, statistics, scales and biases are random. Differences are greatest ones, as shares of the largest logit, on
two images; the time is that of one image in onnxruntime on one thread, as a share of our own inference's on one core
(run it with `taskset -c 0`), the median of rounds that take both in turn.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
import onnx
import onnxruntime

from resnet_jax.export.onnx import to_onnx
from resnet_jax.export.stablehlo import run_program, to_stablehlo
from resnet_jax.inference.fold_batch_norm import fold_batch_norm
from resnet_jax.models.counts import abstract_variables, parameter_count
from resnet_jax.models.registry import classifies_pixels, create_model, list_models

MOST_PARAMETERS = 60e6
ROUNDS = 7


def draw_variables(model: Any, size: int) -> Any:
    """Return random variables, none at its initial value."""
    rng = np.random.default_rng(0)
    shapes = abstract_variables(model, size)
    kernels = sum(path[-1].key == "kernel" for path, _ in jax.tree_util.tree_leaves_with_path(shapes))
    # Of a thousand blocks that each add as much as there is, nothing finite would be left.
    variance = max(1.0, kernels / 110) ** 2

    def draw(path: Any, leaf: Any) -> np.ndarray:
        if path[-1].key == "var":
            return (variance * rng.uniform(0.5, 1.5, leaf.shape)).astype(np.float32)
        if path[-1].key == "scale":
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        spread = np.sqrt(1 / np.prod(leaf.shape[:-1])) if path[-1].key == "kernel" else 0.1
        return rng.normal(0, spread, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def share_of_time(first: Callable[[], Any], second: Callable[[], Any]) -> float:
    """Return the median ratio of the times of two calls, taken in turn."""
    ratios = []
    for _ in range(ROUNDS + 1):
        times = []
        for run in (first, second):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        ratios.append(times[0] / times[1])
    return float(np.median(ratios[1:]))


def measure(name: str) -> str:
    """Return a network's row."""
    model = create_model(name)
    size = 32 if name.endswith("_cifar") else 224
    parameters = parameter_count(abstract_variables(model, size)["params"])
    if parameters > MOST_PARAMETERS:
        return f"| {name} | {parameters / 1e6:.1f} | over 60 M | | | | | |"
    variables = draw_variables(model, size)
    images = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype(np.float32)
    apply, folded = fold_batch_norm(model, variables, size)
    ours = jax.jit(lambda variables, images: apply(variables, images))
    expected = np.asarray(jax.jit(model.apply)(variables, images))
    scale = np.abs(expected).max()

    proto = to_onnx(model, variables, (size, size))
    kinds = [node.op_type for node in proto.graph.node]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        onnx.save(proto, path)
        file_size = path.stat().st_size / 1e6
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    put = session.get_inputs()[0].name
    batch = images.transpose(0, 3, 1, 2).copy()
    (found,) = session.run(None, {put: batch})
    in_onnx = np.abs(np.asarray(found) - expected).max() / scale
    one = images[:1]
    share = share_of_time(lambda: session.run(None, {put: batch[:1]}), lambda: jax.block_until_ready(ours(folded, one)))
    program = to_stablehlo(model, variables, (size, size))
    in_stablehlo = np.abs(run_program(program.data, {}, images) - expected).max() / scale
    return (
        f"| {name} | {parameters / 1e6:.1f} | {len(kinds)} | {kinds.count('Conv')} | {file_size:.1f} | "
        f"{in_onnx:.1e} | {in_stablehlo:.1e} | {share:.2f} |"
    )


def main() -> None:
    """Print the table of the named networks, or of all classifiers, row by row."""
    names = sys.argv[1:] or [name for name in list_models() if not classifies_pixels(name)]
    print("| network | parameters, M | nodes | Conv | MB | ONNX differs by | StableHLO differs by | time, of ours |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        print(measure(name), flush=True)
        jax.clear_caches()


if __name__ == "__main__":
    main()
