"""Mixup and CutMix beside timm's and torchvision's, with the same share, box and partner."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_jax.data.augment import mixing

from .originals import torch, torchvision

v2 = importlib.import_module(f"{torchvision.__name__}.transforms.v2")

timm_mixup = pytest.importorskip("timm.data.mixup", reason="one of the originals is timm's")

CLASSES, HEIGHT, WIDTH = 7, 16, 24
# A share, and the pixel that the box is about: inside, cut off at a corner, at two edges, and a box of nothing.
DRAWN = [(0.3, (8, 12)), (0.62, (0, 23)), (0.05, (15, 2)), (0.999, (5, 5))]


def batch_of(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((size, 3, HEIGHT, WIDTH), generator=generator)
    return images, torch.randint(0, CLASSES, (size,), generator=generator)


def ours(images: torch.Tensor, labels: torch.Tensor, shares: mixing.Shares) -> tuple[np.ndarray, np.ndarray]:
    batch = {"image": jnp.asarray(images.permute(0, 2, 3, 1).numpy()), "label": jnp.asarray(labels.int().numpy())}
    out = mixing.mix_by(batch, shares, CLASSES)
    return np.asarray(out["image"]).transpose(0, 3, 1, 2), np.asarray(out["target"])


def check(size: int, shares: mixing.Shares, original) -> None:
    """Both on one batch of `size`, of which `original` mixes two examples at a time: both pair those alike."""
    images, labels = batch_of(size)
    mixed, target = ours(images, labels, shares)
    for pair in range(0, size, 2):
        expected, expected_target = original(images[pair : pair + 2].clone(), labels[pair : pair + 2])
        np.testing.assert_allclose(mixed[pair : pair + 2], expected, atol=1e-6)
        np.testing.assert_allclose(target[pair : pair + 2], expected_target, atol=1e-6)


def box_of(center: tuple[int, int], share: float) -> jax.Array:
    return mixing.clipped_box(jnp.array(center), share, HEIGHT, WIDTH)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_is_torchvision_s(share):
    original = v2.MixUp(num_classes=CLASSES)
    original.make_params = lambda inputs: {"lam": share}
    check(6, mixing.even_shares(share, HEIGHT, WIDTH), original)


@pytest.mark.parametrize(("share", "center"), DRAWN)
def test_cutmix_is_torchvision_s(share, center, monkeypatch):
    original = v2.CutMix(num_classes=CLASSES)
    sides = {HEIGHT: center[0], WIDTH: center[1]}
    monkeypatch.setattr(original._dist, "sample", lambda shape: torch.tensor([share]))

    def mix(*pair):
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randint", lambda high, size: torch.tensor([sides[high]]))
            return original(*pair)

    check(6, mixing.shares_outside(box_of(center, share), HEIGHT, WIDTH), mix)


def timm_s(share: float, **options):
    mix = timm_mixup.Mixup(**{"mixup_alpha": 0.0, "label_smoothing": 0.0, "num_classes": CLASSES} | options)
    mix._params_per_batch = lambda: (share, mix.cutmix_alpha > 0)
    return mix


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixup_is_timm_s(share):
    check(6, mixing.even_shares(share, HEIGHT, WIDTH), timm_s(share, mixup_alpha=1.0))


@pytest.mark.parametrize(("share", "center"), DRAWN)
def test_cutmix_is_timm_s_for_the_same_box(share, center, monkeypatch):
    # timm's own box may be a pixel longer: its sides may be odd.
    top, left, bottom, right = (int(end) for end in box_of(center, share))
    monkeypatch.setattr(timm_mixup, "rand_bbox", lambda *_, **__: (top, bottom, left, right))
    shares = mixing.shares_outside(box_of(center, share), HEIGHT, WIDTH)
    check(6, shares, timm_s(share, cutmix_alpha=1.0))


@pytest.mark.parametrize("center", [(8, 12), (0, 0), (15, 23), (3, 20)])
def test_the_box_is_timm_s_where_its_sides_are_even(center, monkeypatch):
    share = 0.7499  # half of each side, and a hair more, so that rounding does not matter
    drawn = iter(center)
    monkeypatch.setattr(np.random, "randint", lambda low, high, size: next(drawn))
    top, bottom, left, right = timm_mixup.rand_bbox((3, HEIGHT, WIDTH), share)
    assert box_of(center, share).tolist() == [top, left, bottom, right]


def test_smoothing_the_target_is_smoothing_the_labels():
    images, labels = batch_of(2)
    _, target = ours(images, labels, mixing.even_shares(0.3, HEIGHT, WIDTH))
    _, expected = timm_s(0.3, mixup_alpha=1.0, label_smoothing=0.1)(images, labels)
    np.testing.assert_allclose(target * 0.9 + 0.1 / CLASSES, expected, atol=1e-6)
