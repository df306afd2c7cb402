"""Exact evaluation of a trained network, or of several together."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import jax

from resnet_jax.data.sources.load import load_source
from resnet_jax.evaluation.protocols import Pass, Protocol, build_passes
from resnet_jax.evaluation.scores import Scores, collect, jit_score_step, mean_scores, score_sums
from resnet_jax.inference.trained import Trained, check_classes
from resnet_jax.inference.tta import SCALES
from resnet_jax.runtime.sharding import data_mesh, replicated
from resnet_jax.training import loop, step
from resnet_jax.training.metrics import mean_metrics


def evaluate(
    trained: Trained | Sequence[Trained],
    *,
    protocol: Protocol = "",
    scales: Sequence[int] = SCALES,
    dataset: str = "",
    data_dir: str = "",
    split: Literal["train", "val"] = "val",
    batch_size: int = 0,
    num_workers: int = -1,
) -> dict[str, Any]:
    """Loss (nats), top-1 and top-5 (fractions) of a network over every image of a set, each counted once.

    Args:
        trained: the network; or several, whose scores (softmax of the logits) are averaged. Each sees images of its own
            size and normalization.
        protocol: what a network is shown of every image. "" is what its config says; "center", "flip" and
            "flip_translate" average the logits of `views.VIEWS`; "ten_crop" the scores of four corners, the center and
            their mirror images; "multi_scale" those of the whole image and its mirror image at several sizes.
        scales: shorter sides of multi_scale, pixels.
        dataset: any that training takes; empty is the one that the (first) network was trained on.
        data_dir: where the data are; empty is where they were in training.
        split: "val" or "train".
        batch_size: 0 is the run's own; crops and mirror images count. The result does not depend on it.
        num_workers: as in `Config`.

    Raises:
        InputError: the data cannot be read, the set has other classes than a network, or a network cannot be asked in
            this way.
    """
    networks = [trained] if isinstance(trained, Trained) else list(trained)
    # The images are normalized as in training, whatever set they come from: only the source changes.
    first = networks[0].config
    name, folder = dataset or first.dataset, data_dir or ("" if dataset else first.data_dir)
    mesh = data_mesh()

    def passes_of(network: Trained) -> tuple[int, list[Pass]]:
        views = protocol or network.config.eval_views
        source = load_source(name, split, folder or None, 0 if views == "multi_scale" else network.image_size)
        check_classes(name, source.class_names, network)
        size = batch_size or network.config.eval_batch_size or network.config.batch_size
        config = dataclasses.replace(network.config, eval_batch_size=size, num_workers=num_workers)
        configured = dataclasses.replace(network, config=config)
        return len(source), build_passes(configured, protocol, source, scales, size, mesh)

    if len(networks) == 1:
        _, passes = passes_of(networks[0])
        if len(passes) == 1:
            variables = jax.device_put(networks[0].variables, replicated(mesh))
            eval_step = step.jit_eval_step(passes[0].apply, passes[0].loader.prepare, replicated(mesh))
            return mean_metrics(loop.evaluate(passes[0].loader.batches(), partial(eval_step, variables)))

    def scores_of(network: Trained) -> Scores:
        count, passes = passes_of(network)
        variables = jax.device_put(network.variables, replicated(mesh))
        return mean_scores(one_pass(taken, variables, count) for taken in passes)

    def one_pass(taken: Pass, variables: Any, count: int) -> Scores:
        score_step = jit_score_step(taken.apply, taken.loader.prepare, replicated(mesh))
        return collect(taken.loader.batches(), partial(score_step, variables), count)

    # Each network counts alike, however many scales it is asked at.
    return mean_metrics(score_sums(mean_scores(map(scores_of, networks))))
