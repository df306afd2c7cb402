"""Numbers of trainings on one GPU: one step against float64, and whole trainings of CIFAR-10; parts of gpu.py."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import jax
import numpy as np
import optax
from gpu_speed import Sizes, noise

from resnet_jax.config.options import Config
from resnet_jax.data.build import build_source, build_train_loader
from resnet_jax.data.resolution import FixedSize
from resnet_jax.inference.tta import build_apply
from resnet_jax.recipes import CIFAR
from resnet_jax.run.build import Run, build_run
from resnet_jax.run.state import first_state, whitened
from resnet_jax.run.step import build_train_step, chunked_batches
from resnet_jax.runtime.sharding import replicated
from resnet_jax.training import loop
from resnet_jax.training.metrics import mean_metrics, zero_sums
from resnet_jax.training.state import create_train_state
from resnet_jax.training.step import jit_eval_step
from resnet_jax.weights.pretrained import load_pretrained


def parity(sizes: Sizes, out: Path) -> dict[str, Any]:
    """Compare the loss and the gradient of one step with float64 of torchvision on the CPU, beside PyTorch's own.

    The gradient is the momentum after the first step without weight decay.
    """
    if find_spec("torch") is None:
        raise ModuleNotFoundError("the float64 reference needs torch")
    configs = {
        dtype: noise(sizes.large, sizes.large_pixels, sizes.parity_batch, dtype=dtype, weight_decay=0.0)
        for dtype in ("float32", "bfloat16")
    }
    run = build_run(configs["float32"])
    batch = next(iter(run.data.train.batches(0, 1)))
    prepared = jax.device_get(jax.jit(run.data.train.prepare)(batch, 0))
    np.savez(out / "batch.npz", image=prepared["image"], label=prepared["label"])
    program = [sys.executable, str(Path(__file__).with_name("torch_gradients.py")), sizes.large, str(out)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    theirs = json.loads(done.stdout.splitlines()[-1])
    weights = load_pretrained(sizes.large, str(out / "weights.pth"))
    exact = load_pretrained(sizes.large, str(out / "gradients.pth"))["params"]
    found: dict[str, Any] = {"float64": theirs, "ours": {}}
    for dtype, config in configs.items():
        for precision in ("default", "highest") if dtype == "float32" else ("default",):
            with jax.default_matmul_precision(precision):
                run = build_run(config)
                state = replace(first_state(run), **jax.device_put(weights, replicated(run.mesh)))
                state, sums = build_train_step(run)(state, jax.jit(zero_sums)(), batch)
            gradient = optax.tree_utils.tree_get(state.opt_state, "trace")
            error = jax.tree.map(lambda a, b: float(np.sum((np.asarray(a, np.float64) - b) ** 2)), gradient, exact)
            found["ours"][f"{dtype}, {precision}"] = {
                "loss": mean_metrics(sums)["loss"],
                "error": sum(jax.tree.leaves(error)) ** 0.5 / theirs["gradient_norm"],
            }
    for name in ("batch.npz", "weights.pth", "gradients.pth"):
        (out / name).unlink()
    return found


def parity_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table."""
    ours = {f"ours, {name}": f"{one['error']:.2e}; loss {one['loss']:.6f}" for name, one in found["ours"].items()}
    theirs = {f"torch, {name}": f"{error:.2e}" for name, error in found["float64"]["errors"].items()}
    title = "gradient's error against float64 (norms)"
    return [(f"{title}: {name}", text) for name, text in (ours | theirs).items()] + [
        ("loss in float64", f"{found['float64']['loss']:.6f}")
    ]


class Training:
    """Whole trainings of one config on CIFAR-10 that differ in their seed, by programs that are compiled once."""

    def __init__(self, config: Config):
        self.run = build_run(config)
        self._source = build_source(config, "train")
        size = self.run.data.image_size
        self._init = jax.jit(
            partial(
                create_train_state,
                self.run.model,
                self.run.optimizer.tx,
                size,
                with_ema=self.run.optimizer.ema is not None,
            ),
            out_shardings=replicated(self.run.mesh),
        )
        self._step = build_train_step(self.run)
        apply = build_apply(self.run.model, config.eval_views)
        self._eval = jit_eval_step(apply, self.run.data.test.prepare, replicated(self.run.mesh))

    def with_seed(self, seed: int) -> Run:
        """Return the run with another seed."""
        config = replace(self.run.config, seed=seed)
        size = FixedSize(self.run.data.image_size)
        train = build_train_loader(self._source, config, size, self.run.mesh)
        return replace(self.run, config=config, data=replace(self.run.data, train=train))

    def train(self, seed: int, steps: int = 0) -> dict[str, float]:
        """Train with this seed, or only so many steps; the test accuracy, and the seconds of each phase."""
        run, times = self.with_seed(seed), [time.perf_counter()]
        state = jax.block_until_ready(whitened(run, self._init(jax.random.key(seed))))
        sums = jax.jit(zero_sums, out_shardings=replicated(run.mesh))()
        times.append(time.perf_counter())
        total = steps or run.total_steps
        spans = loop.chunks(0, total, run.config.steps_per_call, ())
        for chunk in chunked_batches(run, spans):
            state, sums = self._step(state, sums, chunk)
        jax.block_until_ready(sums)
        times.append(time.perf_counter())
        found = mean_metrics(loop.sum_batches(run.data.test.batches(), partial(self._eval, state.variables)))
        times.append(time.perf_counter())
        phases = dict(zip(("init", "train", "evaluate"), np.diff(times).tolist(), strict=True))
        return {"seed": seed, "top1": found["top1"], "first_bad_step": int(sums["first_bad_step"]), **phases}


def small_images(recipe: str, sizes: Sizes, **options: Any) -> Config:
    """Return the config of a recipe for CIFAR."""
    settings: dict[str, Any] = {**CIFAR[recipe].settings, **sizes.dataset, "log_every": 10**6, "eval_every": 10**6}
    return Config(**(settings | options), data_dir=sizes.data_dir, num_workers=0)


def airbench(sizes: Sizes, out: Path) -> dict[str, Any]:
    """Whole trainings by airbench94's recipe: accuracy with its six views, and seconds."""
    found: dict[str, Any] = {}
    for dtype, most in (("bfloat16", sizes.airbench_runs), ("float32", min(5, sizes.airbench_runs))):
        training = Training(small_images("airbench94", sizes, dtype=dtype, **sizes.airbench))
        training.train(seed=1000)  # compiles
        runs: list[dict[str, float]] = []
        for seed in range(most):
            if runs and time.monotonic() + 2 * sum(runs[-1][phase] for phase in PHASES) > sizes.end:
                break
            runs.append(training.train(seed))
        found[dtype] = {"runs": runs, **summary(runs)}
        if time.monotonic() + 60 > sizes.end:
            break
    return found


PHASES = ("init", "train", "evaluate")


def summary(runs: list[dict[str, float]]) -> dict[str, Any]:
    """Mean and deviation of the accuracy, and the median seconds of each phase."""
    top1 = [run["top1"] for run in runs]
    return {
        "count": len(runs),
        "top1_mean": mean(top1),
        "top1_deviation": stdev(top1) if len(top1) > 1 else None,
        "seconds": {phase: round(median(run[phase] for run in runs), 3) for phase in PHASES},
    }


def airbench_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table."""
    return [(f"airbench94, {dtype}", text_of(one)) for dtype, one in found.items()]


def text_of(one: dict[str, Any]) -> str:
    """Return a summary as text."""
    return (
        f"top-1 {100 * one['top1_mean']:.3f} % ({one['count']} runs, deviation {one['top1_deviation']}); "
        f"median seconds {json.dumps(one['seconds'])}"
    )


def he2015(sizes: Sizes, out: Path) -> dict[str, Any]:
    """ResNet-20 of He et al. 2015, 64,000 steps, as many of three seeds as the minutes allow; in float32 (TF32)."""
    training = Training(small_images("he2015", sizes, model=sizes.small, **sizes.he2015))
    runs: list[dict[str, float]] = []
    trial = 4 * training.run.config.steps_per_call
    training.train(1000, steps=trial)  # compiles
    expected = training.train(1001, steps=trial)["train"] * training.run.total_steps / trial
    for seed in range(3):
        if time.monotonic() + 1.1 * expected + 5 > sizes.end:
            break
        runs.append(training.train(seed))
    found: dict[str, Any] = {"expected_seconds": expected, "runs": runs}
    return found | (summary(runs) if runs else {})


def he2015_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Rows of the table."""
    if not found["runs"]:
        return [("ResNet-20, he2015", f"no time: {found['expected_seconds']:.0f} s a seed expected")]
    return [("ResNet-20, he2015, float32", text_of(found))]
