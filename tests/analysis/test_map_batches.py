import numpy as np
import pytest

from resnet_jax.analysis.map_batches import map_batches


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_every_example_counts_once_and_every_call_has_one_shape(batch_size):
    shapes = set()

    def function(x, y):
        shapes.add((x.shape, y.shape))
        return x.sum(axis=1) + y

    x, y = np.arange(14.0).reshape(7, 2), np.arange(7.0)
    np.testing.assert_array_equal(map_batches(function, batch_size, x, y), x.sum(axis=1) + y)
    assert len(shapes) == 1
