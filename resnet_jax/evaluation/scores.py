"""Scores averaged over passes that show every example once, in any order: over scales, over networks, or both.

One pass sums hits and forgets; of several, the scores [N,K] of all examples must wait for one another. They wait on the
host, 0.2 GB for ImageNet's validation set, whole on every process.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Sharding

from resnet_jax.runtime.batch import Batch
from resnet_jax.training.losses import cross_entropy
from resnet_jax.training.metrics import Sums, add_sums, classification_sums, zero_sums

ROWS = 4096  # of the table that are summed up at once


@dataclass(frozen=True)
class Scores:
    """What was said of N examples.

    Attributes:
        log_scores: float32 [N,K], logarithms of probabilities.
        label: int32 [N].
    """

    log_scores: np.ndarray
    label: np.ndarray


def jit_score_step(
    apply: Callable[[Any, jax.Array], jax.Array], prepare: Callable[[Any], Batch], sharding: Sharding
) -> Callable[[Any, Any], Batch]:
    """The compiled step of one pass: (variables, fed batch) -> {"log_scores", "label", "mask", "index"}.

    Args:
        apply: (variables, images) -> logits [B,K], of one view or of several.
        prepare: makes the batch of what is fed.
        sharding: that of the answer: replicated, so that every process can read it.
    """

    def score_step(variables: Any, fed: Any) -> Batch:
        batch = prepare(fed)
        logits = apply(variables, batch["image"]).astype(jnp.float32)
        kept = {name: batch[name] for name in ("label", "mask", "index")}
        return {"log_scores": jax.nn.log_softmax(logits), **kept}

    return jax.jit(score_step, out_shardings=sharding)


def collect(batches: Iterable[Batch], score_step: Callable[[Batch], Batch], num_examples: int) -> Scores:
    """The scores of one pass, by example.

    Args:
        batches: with masks and the examples' numbers.
        score_step: fed batch -> what `jit_score_step` returns.
        num_examples: N.

    Raises:
        ValueError: the pass did not show every example exactly once.
    """
    log_scores = np.zeros((0, 0), np.float32)
    label, seen = np.zeros(num_examples, np.int32), np.zeros(num_examples, int)
    for batch in batches:
        answer = jax.device_get(score_step(batch))
        real = answer["mask"] > 0
        index = answer["index"][real]
        if not log_scores.size:
            log_scores = np.zeros((num_examples, answer["log_scores"].shape[1]), np.float32)
        log_scores[index], label[index] = answer["log_scores"][real], answer["label"][real]
        np.add.at(seen, index, 1)
    if (seen != 1).any():
        raise ValueError(f"{(seen == 0).sum()} examples were never shown and {(seen > 1).sum()} more than once")
    return Scores(log_scores, label)


def mean_scores(passes: Iterable[Scores]) -> Scores:
    """The mean of the scores, not of their logarithms, over passes; all weigh the same.

    Raises:
        ValueError: there is no pass, or two have other labels or another number of examples or classes.
    """
    total, count = None, 0
    for scores in passes:
        count += 1
        if total is None:
            total = scores
            continue
        same = scores.log_scores.shape == total.log_scores.shape and np.array_equal(scores.label, total.label)
        if not same:
            raise ValueError("the passes are not over the same examples")
        total = Scores(np.logaddexp(total.log_scores, scores.log_scores), total.label)
    if total is None:
        raise ValueError("there is no pass to average")
    return Scores(total.log_scores - np.float32(np.log(count)), total.label)


def score_sums(scores: Scores) -> Sums:
    """Loss, hits in the first one and the first five classes, and count, as of `training.step.eval_step`."""
    total = zero_sums()
    for start in range(0, len(scores.label), ROWS):
        rows = slice(start, start + ROWS)
        label, log_scores = jnp.asarray(scores.label[rows]), jnp.asarray(scores.log_scores[rows])
        batch = {"label": label, "mask": jnp.ones(label.shape, jnp.float32)}
        total = add_sums(total, classification_sums(log_scores, batch, cross_entropy(log_scores, batch)))
    return total
