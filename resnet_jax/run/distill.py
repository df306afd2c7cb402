"""Distillation: the logits of a teacher, a trained network, beside the training batches of a run."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from resnet_jax.data.build import build_preprocessing
from resnet_jax.data.loader import Loader
from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.inference.trained import Trained, check_classes, load_trained, takes_average
from resnet_jax.models.build import check_classifier
from resnet_jax.run.build import Run
from resnet_jax.runtime.batch import Batch
from resnet_jax.runtime.sharding import replicated


def add_teacher(run: Run) -> Run:
    """Return the run with the teacher's logits in its training batches; the same run where --teacher names none.

    Raises:
        InputError: the teacher cannot be read, or has other classes.
    """
    config, class_names = run.config, run.data.class_names
    if not config.teacher:
        return run
    key = "" if config.init_from else config.weights_key
    try:
        if config.teacher_weights:
            teacher = load_trained(
                model=config.teacher,
                weights=config.teacher_weights,
                weights_key=key,
                num_classes=len(class_names),
            )
        else:
            teacher = load_trained(config.teacher, ema=takes_average(key))
        check_classifier(teacher.model, config.teacher, run.data.train_size_at(0))
        check_classes(config.dataset, class_names, teacher)
    except InputError as error:
        raise InputError(f"--teacher={config.teacher}: {error}") from error
    variables = jax.device_put(teacher.variables, replicated(run.mesh))
    train = with_teacher_logits(run.data.train, teacher, variables, build_preprocessing(config, 0))
    return dataclasses.replace(run, data=dataclasses.replace(run.data, train=train))


def with_teacher_logits(loader: Loader, teacher: Trained, variables: Any, preprocessing: Preprocessing) -> Loader:
    """Return the loader with "teacher" in its prepared batches: the teacher's float32 logits [B,K] of their images.

    The variables travel beside the batch, as a data set on the devices does: constants of a compiled step would be
    copied into its program.

    Args:
        loader: of the training set.
        teacher: the trained network.
        variables: its variables on the devices.
        preprocessing: of the student, whose images the loader prepares.
    """
    theirs, ours = teacher.preprocessing, preprocessing

    def batches(start: int, stop: int) -> Iterator[Batch]:
        for batch in loader.batches(start, stop):
            yield {**batch, "teacher": variables}

    def prepare(batch: Batch, step: Any) -> Batch:
        prepared = loader.prepare({name: value for name, value in batch.items() if name != "teacher"}, step)
        # From our normalization of the pixels to the teacher's.
        scale = jnp.asarray(ours.std) / jnp.asarray(theirs.std)
        shift = (jnp.asarray(ours.mean) - jnp.asarray(theirs.mean)) / jnp.asarray(theirs.std)
        image = prepared["image"] * scale[None, None, None] + shift[None, None, None]
        logits = teacher.model.apply(batch["teacher"], image, train=False)
        return {**prepared, "teacher": jax.lax.stop_gradient(logits)}

    return Loader(batches, prepare, loader.requests, {**loader.held, "teacher": variables})
