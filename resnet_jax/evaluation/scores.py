"""Scores averaged over several passes through a set: over scales, over networks, or both.

A single pass needs no more than running sums. Of several, the scores [N,K] of all examples are kept until the last: on
the host, whole on every process, 0.2 GB for ImageNet's validation set.
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

ROWS = 4096  # of the table of scores that are evaluated at once


@dataclass(frozen=True)
class Scores:
    """The scores of N examples.

    Attributes:
        log_scores: float32 [N,K], logarithms of probabilities.
        label: int32 [N].
    """

    log_scores: np.ndarray
    label: np.ndarray


def jit_score_step(
    apply: Callable[[Any, jax.Array], jax.Array], prepare: Callable[[Any], Batch], sharding: Sharding
) -> Callable[[Any, Any], Batch]:
    """Compile the step of one pass: (variables, batch) -> {"log_scores", "label", "mask", "index"}.

    Args:
        apply: (variables, images) -> logits [B,K], of one view or of several.
        prepare: of the loader.
        sharding: of the result: replicated, so that every process can read it.
    """

    def score_step(variables: Any, batch: Any) -> Batch:
        batch = prepare(batch)
        logits = apply(variables, batch["image"]).astype(jnp.float32)
        kept = {name: batch[name] for name in ("label", "mask", "index")}
        return {"log_scores": jax.nn.log_softmax(logits), **kept}

    return jax.jit(score_step, out_shardings=sharding)


def collect(batches: Iterable[Batch], score_step: Callable[[Batch], Batch], num_examples: int) -> Scores:
    """Return the scores of one pass, by example.

    Args:
        batches: with masks and the examples' numbers.
        score_step: batch -> the result of a compiled `jit_score_step`.
        num_examples: N.

    Raises:
        ValueError: an example was left out, or came more than once.
    """
    log_scores = np.zeros((0, 0), np.float32)
    label, seen = np.zeros(num_examples, np.int32), np.zeros(num_examples, int)
    for batch in batches:
        result = jax.device_get(score_step(batch))
        real = result["mask"] > 0
        index = result["index"][real]
        if not log_scores.size:
            log_scores = np.zeros((num_examples, result["log_scores"].shape[1]), np.float32)
        log_scores[index], label[index] = result["log_scores"][real], result["label"][real]
        np.add.at(seen, index, 1)
    if (seen != 1).any():
        raise ValueError(f"{(seen == 0).sum()} examples were left out and {(seen > 1).sum()} came more than once")
    return Scores(log_scores, label)


def mean_scores(passes: Iterable[Scores]) -> Scores:
    """Return the mean of the scores, not of their logarithms, over passes, which have equal weights.

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
    """Return the sums of loss, top-1, top-5 and count, as `training.step.eval_step` does."""
    total = zero_sums()
    for start in range(0, len(scores.label), ROWS):
        rows = slice(start, start + ROWS)
        label, log_scores = jnp.asarray(scores.label[rows]), jnp.asarray(scores.log_scores[rows])
        batch = {"label": label, "mask": jnp.ones(label.shape, jnp.float32)}
        total = add_sums(total, classification_sums(log_scores, batch, cross_entropy(log_scores, batch)))
    return total
