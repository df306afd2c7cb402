"""The lines that a training prints."""

import jax

from resnet_jax.errors import InterruptedRunError
from resnet_jax.models.counts import abstract_variables, multiply_adds, parameter_count
from resnet_jax.run.build import Run
from resnet_jax.runtime.distributed import is_first_process
from resnet_jax.training.pixel_metrics import pixel_metrics_text
from resnet_jax.training.progress import say
from resnet_jax.workdir.metrics_log import Row


def headline(run: Run) -> str:
    """Return the first line of a run: network, data, devices and length."""
    config, data, size = run.config, run.data, run.data.image_size
    devices = f"{run.mesh.devices.size} {run.mesh.devices.flat[0].device_kind}"
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return (
        f"{config.model}: {parameter_count(abstract_variables(run.model, size)['params']):,} parameters, "
        f"{multiply_adds(run.model, size) / 1e9:.3f} G multiply-adds at {size} px | "
        f"{config.dataset}: {data.num_train:,} training and {data.num_test:,} evaluation images, "
        f"{len(data.class_names)} classes | {devices}{processes} | "
        f"{run.total_steps:,} steps of {config.batch_size} ({run.epoch(run.total_steps):.3g} epochs)"
    )


def outcome(row: Row) -> str:
    """Return the accuracies and the loss of an evaluation as text."""
    if "miou" in row:
        averaged = f" (averaged weights: mean IoU {row['ema_miou']:.4f})" if "ema_miou" in row else ""
        return f"{pixel_metrics_text(row)}, loss {row['loss']:.4f} over {row['num_examples']:,} pictures{averaged}"
    averaged = f" (averaged weights: top-1 {row['ema_top1']:.4f})" if "ema_top1" in row else ""
    return (
        f"top-1 {row['top1']:.4f}, top-5 {row['top5']:.4f}, loss {row['loss']:.4f} over {row['num_examples']:,} images"
        f"{averaged}"
    )


def interrupted(step: int) -> InterruptedRunError:
    """Return the error of a run that a signal stopped after `step`."""
    return InterruptedRunError(
        f"stopped by a signal after step {step:,}, which is saved; the same command continues the run"
    )


def say_once(line: str) -> None:
    """Print a line on the first process alone."""
    if is_first_process():
        say(line)
