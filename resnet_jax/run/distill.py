"""Learning from a teacher: a trained network's answers to the batches of a run."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.config.options import Config
from resnet_jax.data.build import preprocessing
from resnet_jax.data.loader import Loader
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained, WhichNetwork, check_classes, load_trained
from resnet_jax.models.build import check_classifier
from resnet_jax.run.build import Run
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.sharding import replicated


def taught(run: Run) -> Run:
    """The run with the teacher's logits in its training batches; the run itself where its config names no teacher.

    Raises:
        InputError: the teacher cannot be read, or has other classes.
    """
    config = run.config
    if not config.teacher:
        return run
    if config.teacher_weights:
        which = WhichNetwork(model=config.teacher, weights=config.teacher_weights, num_classes=len(run.class_names))
    else:
        which = WhichNetwork(workdir=config.teacher)
    try:
        teacher = load_trained(which)
        check_classifier(teacher.model, config.teacher, run.size_at(0))
        check_classes(config.dataset, run.class_names, teacher)
    except InputError as error:
        raise InputError(f"--teacher={config.teacher}: {error}") from error
    variables = jax.device_put(teacher.variables, replicated(run.mesh))
    return dataclasses.replace(run, training=_with_answers(run.training, teacher, variables, config))


def _with_answers(loader: Loader, teacher: Trained, variables: Any, config: Config) -> Loader:
    """The loader with "teacher", float32 logits [B,K]: what the teacher says of the augmented images.

    Its variables travel beside the batch, as a set that lives on the device does: constants of a compiled step would
    be copied into its program.
    """
    theirs, ours = (preprocessing(c, 0) for c in (teacher.config, config))

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for batch in loader.batches(start, stop):
            yield {**batch, "teacher": variables}

    def prepare(batch: Batch, step: Any) -> Batch:
        prepared = loader.prepare({name: value for name, value in batch.items() if name != "teacher"}, step)
        # To the teacher's own scale of the same pixels.
        to_theirs = jnp.asarray(ours.std) / jnp.asarray(theirs.std)
        shift = (jnp.asarray(ours.mean) - jnp.asarray(theirs.mean)) / jnp.asarray(theirs.std)
        image = prepared["image"] * to_theirs[None, None, None] + shift[None, None, None]
        logits = teacher.model.apply(batch["teacher"], image, train=False)
        return {**prepared, "teacher": jax.lax.stop_gradient(logits)}

    return Loader(batches, prepare, loader.requests, {**loader.held, "teacher": variables})
