"""Predictions for files: batch by batch, in memory that does not grow, and every unreadable file named."""

import tracemalloc
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.inference import predict as module
from resnet_jax.inference.predict import predict, probabilities, read_images
from resnet_jax.inference.trained import Trained

SIZE = 64
CROP = SIZE * SIZE * 3  # bytes


class Toy(nn.Module):
    num_classes: int = 3

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        return nn.Dense(self.num_classes)(x.mean(axis=(1, 2)))


@pytest.fixture(scope="module")
def trained() -> Trained:
    model = Toy()
    variables = model.init(jax.random.key(0), jnp.zeros((1, SIZE, SIZE, 3)))
    return Trained("toy", model, variables, Preprocessing(SIZE, SIZE), ("a", "b", "c"), "toy", dataset="toy")


@pytest.fixture
def paths(tmp_path) -> list[str]:
    """Seven pictures of as many shades."""
    found = []
    for number in range(7):
        found.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(np.full((80, 70, 3), 30 * number, np.uint8)).save(found[-1])
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
def test_the_batch_does_not_change_the_result(trained, paths, batch_size):
    table = probabilities(trained, read_images(paths, trained.preprocessing))
    found = predict(trained, paths, top=3, batch_size=batch_size)
    assert [entry["image"] for entry in found] == paths
    for entry, row in zip(found, table, strict=True):
        assert [c["class"] for c in entry["classes"]] == ["abc"[k] for k in np.argsort(-row)]
        np.testing.assert_allclose([c["probability"] for c in entry["classes"]], np.sort(row)[::-1], atol=2e-6)


def test_a_single_path_is_one_image(trained, paths):
    assert predict(trained, paths[2]) == predict(trained, paths[2:3])


def peak(trained, paths) -> int:
    tracemalloc.start()
    predict(trained, paths, top=1, batch_size=4)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_pictures(trained, paths):
    peak(trained, paths)
    few, many = peak(trained, paths[:4] * 10), peak(trained, paths[:4] * 100)
    assert many - few < 36 * 10 * CROP / 4  # the crops of what is more would be 360


def test_all_that_cannot_be_read_are_named_and_nothing_is_predicted(trained, paths, tmp_path):
    (tmp_path / "5.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"5\.png: .*; .*nothing\.jpg: No such file") as caught:
        predict(trained, [*paths, str(tmp_path / "nothing.jpg")], batch_size=2)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="name at least one image file"):
        predict(trained, [])
    with pytest.raises(InputError, match="--batch_size=0 must be at least 1"):
        predict(trained, paths, batch_size=0)


def test_memory_that_does_not_suffice_is_one_line(trained, paths, monkeypatch):
    def exhausted(*arguments: Any) -> Any:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4 bytes.")

    monkeypatch.setattr(module, "build_probabilities", lambda *arguments: exhausted)
    with pytest.raises(InputError, match=r"^the memory does not suffice; take a smaller --batch_size than 5$"):
        predict(trained, paths, batch_size=5)


def test_no_class_at_all_is_not_predicted(trained, paths):
    with pytest.raises(InputError, match="--top=0 must be at least 1"):
        predict(trained, paths, top=0)
