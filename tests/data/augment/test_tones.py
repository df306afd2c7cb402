import itertools

import numpy as np
import pytest
from PIL import Image

from resnet_jax.data.augment.color import lighting_tables
from resnet_jax.data.augment.image_ops import Step, apply_steps
from resnet_jax.data.augment.tones import apply_tones

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8))
NAMES = ("Brightness", "Contrast", "Color", "Hue")


@pytest.mark.parametrize("order", [o for n in range(5) for o in itertools.permutations(NAMES, n)])
def test_equals_one_operation_after_the_other(order):
    rng = np.random.default_rng(len(order))
    for _ in range(5):
        steps = [Step(name, rng.uniform(-0.5, 0.5) if name == "Hue" else rng.uniform(0, 2.5)) for name in order]
        expected = apply_steps(PICTURE, steps)
        assert apply_tones(PICTURE, steps) == expected
        tables = lighting_tables(rng, 0.3)
        lit = np.stack(
            [
                np.frombuffer(t, np.uint8)[c]
                for t, c in zip(tables, np.moveaxis(np.asarray(expected), 2, 0), strict=True)
            ],
            2,
        )
        np.testing.assert_array_equal(np.asarray(apply_tones(PICTURE, steps, tables)), lit)


def test_nothing_to_do_leaves_the_picture():
    assert apply_tones(PICTURE, []) is PICTURE
    assert apply_tones(PICTURE, [Step("Brightness", 1.0), Step("Contrast", 1.0)]) == PICTURE
