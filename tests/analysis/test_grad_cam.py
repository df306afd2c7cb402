from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from resnet_jax.analysis.grad_cam import features_and_gradients, grad_cam
from resnet_jax.errors import InputError
from resnet_jax.layers.pooling import resize_bilinear
from resnet_jax.models.resnet.blocks import PreActBasicBlock
from tests.models.short import network, short_and_full

from .toys import random_examples, random_variables, toy


def test_with_an_average_and_a_dense_head_grad_cam_is_cam():
    """Zhou et al. 2016: the class's weights in the head, applied at every place."""
    model = toy()
    variables, (images, labels) = random_variables(model), random_examples(4)
    outputs = jax.jit(partial(model.apply, features=True))(variables, images)
    features = outputs["stage2"]
    weights = variables["params"]["head"]["kernel"][:, labels]
    cam = np.maximum(np.einsum("bhwc,cb->bhw", features, weights), 0)
    cam = np.asarray(resize_bilinear(jnp.asarray(cam)[..., None], 8, 8))[..., 0]
    found = grad_cam(model, variables, images, labels)
    largest = cam.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.maps, cam / np.where(largest > 0, largest, 1), rtol=1e-4, atol=1e-5)
    assert (largest > 0).any()
    probabilities = jax.nn.softmax(outputs["logits"])
    np.testing.assert_allclose(found.probabilities, probabilities[np.arange(4), labels], rtol=1e-5)


def test_without_a_choice_the_most_probable_class_is_taken():
    model = toy()
    variables, (images, _) = random_variables(model), random_examples(6)
    found = grad_cam(model, variables, images)
    np.testing.assert_array_equal(found.classes, np.argmax(jax.jit(model.apply)(variables, images), axis=-1))
    np.testing.assert_array_equal(found.maps, grad_cam(model, variables, images, found.classes).maps)


@pytest.mark.parametrize("preact", [False, True])
def test_gradients_of_an_inner_stage_are_finite_differences(preact):
    """The classifier behind stage 1, applied to its values directly: stage 2 alone, with its parameters."""
    model = toy(PreActBasicBlock, preact=True) if preact else toy()
    variables, (images, _) = random_variables(model), random_examples(1)
    classes = np.array([1])
    values, gradients = features_and_gradients(model, variables, images, classes, "stage1")
    outputs = jax.jit(partial(model.apply, features=True))(variables, images)
    np.testing.assert_allclose(values, outputs["stage1"], rtol=1e-5, atol=1e-6)

    @jax.jit
    def logit(change):
        # Added where stage 1 ends: at the output of its last block.
        def intercept(call, args, kwargs, context):
            output = call(*args, **kwargs)
            is_end = context.module.name == "stage1_block02" and context.method_name == "__call__"
            return output + change if is_end else output

        with nn.intercept_methods(intercept):
            return model.apply(variables, images)[0, 1]

    direction = np.random.default_rng(0).normal(size=values.shape).astype(np.float32)
    step = 1e-3
    slope = (logit(step * direction) - logit(-step * direction)) / (2 * step)
    assert float((gradients * direction).sum()) == pytest.approx(float(slope), rel=2e-2)


@pytest.mark.parametrize(
    ("name", "blocks"),
    short_and_full(["vgg11_bn", "alexnet", "densenet40_cifar", "googlenet", "highway19_cifar", "resnet50"]),
)
def test_every_family_has_a_last_stage_with_a_gradient(name, blocks):
    """Shapes alone: nothing is computed."""
    size = 64
    model = network(name, blocks, num_classes=5)
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    variables = jax.eval_shape(lambda k, x: model.init(k, x, train=False), jax.random.key(0), images)
    values, gradients = jax.eval_shape(
        lambda v, x: features_and_gradients(model, v, x, jnp.array([0, 4])), variables, images
    )
    assert values.shape == gradients.shape
    assert values.ndim == 4
    assert values.shape[0] == 2


def test_an_unknown_stage_is_refused():
    model = toy()
    with pytest.raises(InputError, match="stage='stage7': ResNet has stem, stage1, stage2"):
        grad_cam(model, random_variables(model), random_examples(1)[0], stage="stage7")
