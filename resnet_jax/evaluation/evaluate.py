"""Exact evaluation of a trained network, or of several as an ensemble."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Any

import jax

from resnet_jax.errors import InputError
from resnet_jax.evaluation.image_set import Split, image_set, open_any_set, open_set, refuse_training_images
from resnet_jax.evaluation.masks import evaluate_masks
from resnet_jax.evaluation.protocols import Pass, Protocol, build_passes
from resnet_jax.evaluation.scores import Scores, collect, jit_score_step, mean_scores, score_sums
from resnet_jax.inference.subset import with_classes
from resnet_jax.inference.trained import Trained
from resnet_jax.inference.tta import SCALES
from resnet_jax.runtime.memory import memory_remedy
from resnet_jax.runtime.sharding import data_mesh, replicated
from resnet_jax.training import loop
from resnet_jax.training.metrics import Sums, mean_metrics
from resnet_jax.training.step import jit_eval_step


def evaluate(
    trained: Trained | Sequence[Trained],
    *,
    protocol: Protocol = "",
    scales: Sequence[int] = SCALES,
    dataset: str = "",
    data_dir: str = "",
    split: Split = "val",
    subset: bool = False,
    links_out: bool = False,
    batch_size: int = 0,
    num_workers: int = -1,
) -> dict[str, Any]:
    """Return loss (nats), top-1 and top-5 (fractions) of a network over every image of a set, each counted once.

    Of a network that classifies pixels, return the metrics of `masks.evaluate_masks`.

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
        subset: count the logits of the set's classes alone, which are some of a network's, by name.
        links_out: read symbolic links that leave the folder of the data.
        batch_size: 0 is the run's own; crops and mirror images count. The result does not depend on it.
        num_workers: as in `Config`.

    Raises:
        InputError: there is no network, the data cannot be read, the set has other classes than a network, a network
            cannot be evaluated by this protocol, or the memory does not suffice.
    """
    networks = [trained] if isinstance(trained, Trained) else list(trained)
    if not networks:
        raise InputError("no network to evaluate: the list of them is empty")
    # The images are normalized as in training, whatever set they come from: only the source changes.
    first = networks[0]
    if any(network.classifies_pixels for network in networks):
        if len(networks) > 1 or subset or links_out:
            raise InputError("ensembles, --subset and --links_out are for networks that classify images, not pixels")
        return evaluate_masks(
            first,
            dataset=dataset,
            data_dir=data_dir,
            split=split,
            views=protocol,
            batch_size=batch_size,
            num_workers=num_workers,
        )
    images = image_set(first, dataset=dataset, data_dir=data_dir, split=split, links_out=links_out)
    refuse_training_images(networks, images)
    mesh = data_mesh()

    def opened(network: Trained) -> tuple[Trained, int, list[Pass]]:
        whole = (protocol or network.views) == "multi_scale"
        size = 0 if whole else network.preprocessing.image_size
        source = (open_any_set if subset else open_set)(images, network, size)
        network = with_classes(network, source.class_names) if subset else network
        rows = network.images_at_once(batch_size)
        passes = build_passes(
            network, protocol, source, scales=scales, batch_size=rows, num_workers=num_workers, mesh=mesh
        )
        return network, len(source), passes

    def sums_of(network: Trained, single: Pass) -> Sums:
        variables = jax.device_put(network.variables, replicated(mesh))
        eval_step = jit_eval_step(single.apply, single.loader.prepare, replicated(mesh))
        return loop.sum_batches(single.loader.batches(), partial(eval_step, variables))

    def scores_of(network: Trained, count: int, passes: Sequence[Pass]) -> Scores:
        variables = jax.device_put(network.variables, replicated(mesh))
        return mean_scores(scores_of_pass(one, variables, count) for one in passes)

    def scores_of_pass(one: Pass, variables: Any, count: int) -> Scores:
        score_step = jit_score_step(one.apply, one.loader.prepare, replicated(mesh))
        return collect(one.loader.batches(), partial(score_step, variables), count)

    with memory_remedy(lambda: f"take a smaller --batch_size than {batch_size or first.batch_size}"):
        network, count, passes = opened(first)
        if len(networks) == len(passes) == 1:
            return mean_metrics(sums_of(network, passes[0]))
        # Each network has the same weight, at however many scales it is evaluated.
        scores = chain([scores_of(network, count, passes)], (scores_of(*opened(other)) for other in networks[1:]))
        return mean_metrics(score_sums(mean_scores(scores)))
