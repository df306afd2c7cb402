from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.analysis.path_lengths import path_gradients, path_length_shares, path_lengths
from resnet_jax.errors import InputError
from resnet_jax.models.resnet.blocks import BasicBlock, Bottleneck, PreActBasicBlock

from .toys import random_examples, random_variables, toy


def test_path_lengths_follow_the_binomial_distribution():
    np.testing.assert_allclose(path_length_shares(3), [1 / 8, 3 / 8, 3 / 8, 1 / 8])
    shares = path_length_shares(54)
    assert shares.sum() == pytest.approx(1)
    assert (np.arange(55) * shares).sum() == pytest.approx(27)
    # Veit et al.: more than 95 % of the paths go through 19 to 35 of 54 branches.
    assert shares[19:36].sum() > 0.95
    assert path_length_shares(1800).sum() == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "options"),
    [
        (BasicBlock, {}),
        (BasicBlock, {"shortcut": "B", "attention": "se"}),
        (Bottleneck, {"shortcut": "C"}),
        (PreActBasicBlock, {"preact": True}),
        (PreActBasicBlock, {"preact": True, "shortcut": "bare"}),
        (BasicBlock, {"merge": "exclusive_gate"}),
    ],
)
def test_the_gradients_of_all_paths_add_up_to_the_gradient(block, options):
    model = toy(block, (1, 2), **options)
    variables, (images, labels) = random_variables(model), random_examples(2)

    @jax.jit
    def whole(images):
        def loss(images):
            return -jax.nn.log_softmax(model.apply(variables, images))[np.arange(2), labels].sum()

        return jax.grad(loss)(images)

    one = jax.jit(lambda through: path_gradients(model, variables, images, labels, through))
    paths = [one(jnp.array(through)) for through in product([False, True], repeat=3)]
    expected = np.asarray(whole(images))
    np.testing.assert_allclose(sum(paths), expected, rtol=1e-3, atol=1e-5 * np.abs(expected).max())
    assert len({float(np.abs(path).sum()) for path in paths}) == 8


def test_the_path_through_no_branch_is_that_of_the_shortcuts():
    """Without ReLUs behind the addition, the shortest path ends in a network that is nothing but shortcuts."""
    model = toy(PreActBasicBlock, (2,), preact=True)
    variables, (images, labels) = random_variables(model), random_examples(2)
    silent = {**variables, "params": {**variables["params"]}}
    through = jnp.array([False, False])
    for name in ("stage1_block01", "stage1_block02"):
        block = silent["params"][name]
        silent["params"][name] = {**block, "conv1": {"kernel": np.zeros_like(block["conv1"]["kernel"])}}
    path = jax.jit(lambda v: path_gradients(model, v, images, labels, through))(silent)

    def loss(images):
        return -jax.nn.log_softmax(model.apply(silent, images))[np.arange(2), labels].sum()

    # Branches whose first kernel is zero pass no gradient: the whole gradient is that of the shortest path.
    np.testing.assert_allclose(path, jax.jit(jax.grad(loss))(images), rtol=1e-4, atol=1e-6)
    assert np.abs(path).max() > 0


def test_effective_paths_are_the_product_of_share_and_gradient():
    model = toy(stage_sizes=(1, 2))
    found = path_lengths(model, random_variables(model), *random_examples(6), samples=3, batch_size=4)
    np.testing.assert_array_equal(found.lengths, [0, 1, 2, 3])
    product_ = found.share * found.gradient
    np.testing.assert_allclose(found.effective, product_ / product_.sum())
    assert (found.gradient > 0).all()


def test_the_gradient_of_a_length_is_the_mean_norm_of_single_images():
    model = toy(stage_sizes=(2,))
    variables, (images, labels) = random_variables(model), random_examples(4)
    found = path_lengths(model, variables, images, labels, lengths=[2], samples=1, batch_size=4)
    through = jnp.array([True, True])
    gradients = jax.jit(lambda x: path_gradients(model, variables, x, labels, through))(images)
    norms = np.linalg.norm(np.asarray(gradients).reshape(4, -1), axis=1)
    np.testing.assert_allclose(found.gradient, [norms.mean()], rtol=1e-4)


def test_a_plain_network_has_one_path():
    model = toy(shortcut="none")
    with pytest.raises(InputError, match="without shortcuts there is a single path"):
        path_lengths(model, random_variables(model), *random_examples(2))
