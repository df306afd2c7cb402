"""Exact evaluation of a trained network, or of several as an ensemble."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax

from resnet_jax.evaluation.image_set import Split, image_set, open_set
from resnet_jax.evaluation.protocols import Pass, Protocol, build_passes
from resnet_jax.evaluation.scores import Scores, collect, jit_score_step, mean_scores, score_sums
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.tta import SCALES
from resnet_jax.runtime.sharding import data_mesh, replicated
from resnet_jax.training import loop
from resnet_jax.training.metrics import mean_metrics
from resnet_jax.training.step import jit_eval_step


def evaluate(
    trained: Trained | Sequence[Trained],
    *,
    protocol: Protocol = "",
    scales: Sequence[int] = SCALES,
    dataset: str = "",
    data_dir: str = "",
    split: Split = "val",
    batch_size: int = 0,
    num_workers: int = -1,
) -> dict[str, Any]:
    """Return loss (nats), top-1 and top-5 (fractions) of a network over every image of a set, each counted once.

    Args:
        trained: the network; or several, whose scores (softmax of the logits) are averaged. Each gets images of its own
            size and normalization.
        protocol: views of every image. "" is the network's own; "center", "flip" and "flip_translate" average the
            logits of `tta.VIEWS`; "ten_crop" the scores of four corners, the center and their mirror images;
            "multi_scale" those of the whole image and its mirror image at several sizes.
        scales: shorter sides of multi_scale, pixels.
        dataset: any that training takes; "" is the one that the (first) network was trained on.
        data_dir: folder of the data; "" is that of the training.
        split: "val", "train" or, of one's own pictures, "test".
        batch_size: 0 is the run's own; crops and mirror images count. The result does not depend on it.
        num_workers: as in `Config`.

    Raises:
        InputError: the data cannot be read, the set has other classes than a network, or a network cannot be evaluated
            by this protocol.
    """
    networks = [trained] if isinstance(trained, Trained) else list(trained)
    # The images are normalized as in training, whatever set they come from: only the source changes.
    first = networks[0]
    images = image_set(first, dataset=dataset, data_dir=data_dir, split=split)
    mesh = data_mesh()

    def passes_of(network: Trained) -> tuple[int, list[Pass]]:
        whole = (protocol or network.views) == "multi_scale"
        size = 0 if whole else network.preprocessing.image_size
        source = open_set(images, network, size)
        rows = batch_size or network.batch_size
        passes = build_passes(
            network, protocol, source, scales=scales, batch_size=rows, num_workers=num_workers, mesh=mesh
        )
        return len(source), passes

    if len(networks) == 1:
        _, passes = passes_of(first)
        if len(passes) == 1:
            (single,) = passes
            variables = jax.device_put(first.variables, replicated(mesh))
            eval_step = jit_eval_step(single.apply, single.loader.prepare, replicated(mesh))
            return mean_metrics(loop.evaluate(single.loader.batches(), partial(eval_step, variables)))

    def scores_of(network: Trained) -> Scores:
        count, passes = passes_of(network)
        variables = jax.device_put(network.variables, replicated(mesh))
        return mean_scores(scores_of_pass(one, variables, count) for one in passes)

    def scores_of_pass(one: Pass, variables: Any, count: int) -> Scores:
        score_step = jit_score_step(one.apply, one.loader.prepare, replicated(mesh))
        return collect(one.loader.batches(), partial(score_step, variables), count)

    # Each network has the same weight, at however many scales it is evaluated.
    return mean_metrics(score_sums(mean_scores(map(scores_of, networks))))
