"""Published folders: timm builds the same network from them."""

import dataclasses

import numpy as np
import pytest

from resnet_jax.export.publish import publish
from tests.export.toys import toy

from .originals import torch

timm = pytest.importorskip("timm", reason="the originals are timm's")


@pytest.mark.parametrize("name", ["resnet18", "resnet50d", "densenet121"])
def test_timm_computes_our_logits_from_a_published_folder(tmp_path, name):
    trained = toy(name, 64)
    folder, _ = publish(trained, "someone/net", tmp_path / "net", license="MIT", dry_run=True)
    theirs = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert theirs.pretrained_cfg["label_names"] == list(trained.class_names or ())
    found = timm.data.resolve_model_data_config(theirs)
    preprocessing = dataclasses.asdict(trained.preprocessing)
    assert tuple(found["input_size"]) == (3, 64, 64)
    assert int(64 / found["crop_pct"]) == preprocessing["resize"]
    assert [tuple(found[key]) for key in ("mean", "std")] == [tuple(preprocessing[key]) for key in ("mean", "std")]

    images = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        logits = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    ours = trained.model.apply(trained.variables, images, train=False)
    assert np.abs(np.asarray(ours) - logits).max() < 1e-4 * np.abs(logits).max()

    # For a task of one's own timm replaces the head, and for gray images it sums the first kernel's channels.
    other = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=5, in_chans=1)
    assert other.get_classifier().out_features == 5
    kernel = dict(theirs.named_parameters())[f"{theirs.pretrained_cfg['first_conv']}.weight"]
    gray = dict(other.named_parameters())[f"{theirs.pretrained_cfg['first_conv']}.weight"]
    torch.testing.assert_close(gray, kernel.sum(1, keepdim=True))
