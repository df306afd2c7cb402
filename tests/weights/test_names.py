"""What is known of each set of weights, against torchvision's and timm's own records."""

from pathlib import PurePosixPath

import numpy as np
import pytest

from resnet_jax.models.registry import list_models
from resnet_jax.weights.catalog import WEIGHTS, default_weights, known_weights

HUB = [w for w in WEIGHTS if w.name.startswith("timm/")]


def test_every_row_is_sound():
    assert len({w.name for w in WEIGHTS}) == len(WEIGHTS)
    for w in WEIGHTS:
        assert w.model in list_models()
        assert 0.5 < w.top1 < (w.top5 or 1.0) <= 1.0
        assert w.preprocessing.resize >= w.preprocessing.image_size
        assert len(w.preprocessing.mean) == len(w.preprocessing.std) == 3


def test_weights_are_known_wherever_they_lie():
    tv = known_weights("timm/resnet50.tv_in1k")
    assert tv is not None
    assert tv.top1 == 0.7613
    assert known_weights("downloads/resnet50.tv_in1k.safetensors") is tv
    assert known_weights("downloads/resnet50-0676ba61.pth") is tv  # torchvision's own file
    assert known_weights("resnet152-f82ba261.pth") is known_weights("timm/resnet152.tv2_in1k")
    wide = known_weights("wide_resnet50_2-9ba9bcbe.pth")
    assert wide is not None
    assert (wide.model, wide.preprocessing.resize) == ("wide_resnet50_2", 232)
    assert default_weights("resnet50") is tv
    cifar = known_weights("weights/resnet20-12fca82f.th")
    assert cifar is not None
    assert cifar.preprocessing.mean == (0.485, 0.456, 0.406)
    googlenet = known_weights("googlenet-1378be20.pth")
    assert googlenet is not None
    assert googlenet.preprocessing.mean == googlenet.preprocessing.std == (0.5, 0.5, 0.5)
    assert known_weights("model.safetensors") is None
    assert default_weights("resnet50_v1") is None


@pytest.fixture(scope="module")
def originals():
    from tests.parity.originals import torchvision  # skips where it is absent

    return torchvision, pytest.importorskip("timm")


@pytest.mark.parametrize("weights", HUB, ids=lambda w: w.name)
def test_timm_says_the_same(weights, originals):
    _, timm = originals
    theirs = timm.models.get_pretrained_cfg(weights.name.removeprefix("timm/"))
    seen = weights.preprocessing
    assert theirs.hf_hub_id == weights.name
    assert theirs.license == weights.license.lower()
    assert (theirs.mean, theirs.std, theirs.interpolation) == (seen.mean, seen.std, seen.interpolation)
    # At the size that the weights were trained at or, where that is below 224, at the one they are tested at.
    trained_at_224 = theirs.input_size[-1] == 224
    size, crop = (224, theirs.crop_pct) if trained_at_224 else (theirs.test_input_size[-1], theirs.test_crop_pct)
    assert (seen.image_size, seen.resize) == (size, int(size / crop))


@pytest.mark.parametrize("weights", [w for w in HUB if ".tv" in w.name], ids=lambda w: w.name)
def test_torchvision_published_these_accuracies(weights, originals):
    torchvision, _ = originals
    version = "IMAGENET1K_V2" if ".tv2" in weights.name else "IMAGENET1K_V1"
    theirs = torchvision.models.get_model_weights(weights.model)[version]
    published = theirs.meta["_metrics"]["ImageNet-1K"]
    assert (weights.top1, weights.top5) == pytest.approx((published["acc@1"] / 100, published["acc@5"] / 100))
    assert theirs.transforms().resize_size == [weights.preprocessing.resize]


def test_googlenet_sees_what_torchvisions_sees(originals):
    torchvision, _ = originals
    theirs = torchvision.models.GoogLeNet_Weights.IMAGENET1K_V1
    weights = known_weights(f"downloads/{PurePosixPath(theirs.url).name}")
    assert weights is not None
    assert weights.model == "googlenet"
    assert default_weights("googlenet") is None
    published = theirs.meta["_metrics"]["ImageNet-1K"]
    assert (weights.top1, weights.top5) == pytest.approx((published["acc@1"] / 100, published["acc@5"] / 100))
    seen, transforms = weights.preprocessing, theirs.transforms()
    assert ([seen.image_size], [seen.resize]) == (transforms.crop_size, transforms.resize_size)

    torch = pytest.importorskip("torch")
    pixels = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v)[:, None, None] for v in (transforms.mean, transforms.std))
    # What torchvision.models.googlenet(weights=...) makes, without the download.
    network = torchvision.models.GoogLeNet(transform_input=True, init_weights=False)
    inside = network._transform_input((pixels - mean) / std)
    ours = (pixels.numpy() - np.reshape(seen.mean, (3, 1, 1))) / np.reshape(seen.std, (3, 1, 1))
    np.testing.assert_allclose(inside.numpy(), ours, atol=1e-6)
