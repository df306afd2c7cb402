from typing import Any

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict

from resnet_jax.analysis.landscape import filter_normalized_direction, loss_line, loss_square, surface

from .toys import random_examples, random_variables, toy

MODEL = toy(stage_sizes=(1,), shortcut="A")


def test_filters_of_a_direction_are_as_long_as_the_networks():
    params = random_variables(MODEL)["params"]
    leaves: Any = flatten_dict(params)
    directions: Any = [flatten_dict(filter_normalized_direction(params, seed)) for seed in (0, 0, 1)]
    for path, weights in leaves.items():
        first, again, other = (direction[path] for direction in directions)
        np.testing.assert_array_equal(first, again)
        if path[-1] != "kernel":
            assert not first.any()
            continue
        for i in range(weights.shape[-1]):
            np.testing.assert_allclose(np.linalg.norm(first[..., i]), np.linalg.norm(weights[..., i]), rtol=1e-5)
        assert abs(np.corrcoef(first.ravel(), weights.ravel())[0, 1]) < 0.9
        assert np.abs(first - other).max() > 0


def test_a_filter_of_zeros_stays_zero():
    assert not filter_normalized_direction({"kernel": np.zeros((3, 3, 2, 4), np.float32)}, 0)["kernel"].any()


def measured(variables, images, labels):
    logits = MODEL.apply(variables, images)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return float(loss.mean()), float(np.mean(np.argmax(logits, axis=-1) != labels))


def test_the_surface_is_the_loss_of_the_moved_parameters_with_the_statistics_left_alone():
    variables, (images, labels) = random_variables(MODEL), random_examples(7)
    first, second = (filter_normalized_direction(variables["params"], seed) for seed in (0, 1))
    points = np.array([[0, 0], [0.5, -0.3], [1, 2]])
    loss, error = surface(MODEL, variables, images, labels, (first, second), points, batch_size=3)
    expected = []
    for a, b in points.astype(np.float32):
        moved = jax.tree.map(lambda w, d, e, a=a, b=b: w + a * d + b * e, variables["params"], first, second)
        expected.append(measured({**variables, "params": moved}, images, labels))
    np.testing.assert_allclose(np.stack([loss, error], axis=1), expected, rtol=1e-4)
    assert len(np.unique(loss)) == 3


def test_a_line_and_a_square_have_the_trained_network_in_the_middle():
    variables, (images, labels) = random_variables(MODEL), random_examples(6)
    middle = measured(variables, images, labels)
    line = loss_line(MODEL, variables, images, labels, radius=0.5, num_points=3)
    np.testing.assert_allclose(line.steps, [-0.5, 0, 0.5])
    np.testing.assert_allclose((line.loss[1], line.error[1]), middle, rtol=1e-5)
    square = loss_square(MODEL, variables, images, labels, radius=0.5, num_points=3)
    np.testing.assert_allclose((square.loss[1, 1], square.error[1, 1]), middle, rtol=1e-5)
    # Along the first direction alone, the square is the line of the same seed.
    np.testing.assert_allclose(square.loss[:, 1], line.loss, rtol=1e-5)
    assert np.abs(square.loss - square.loss.T).max() > 1e-3
