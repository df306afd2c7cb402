"""Every drawing is written, and shows what it was given: other numbers, another picture."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resnet_jax.analysis import plots
from resnet_jax.analysis.error_curves import ErrorCurve
from resnet_jax.analysis.gates import Gates
from resnet_jax.analysis.grad_cam import Evidence
from resnet_jax.analysis.landscape import Landscape
from resnet_jax.analysis.parameters import WeightHistograms
from resnet_jax.analysis.path_lengths import PathLengths
from resnet_jax.analysis.permutations import Permutations

NAMES = ("stem_conv", "stage1_block01/conv1", "stage1_block01/conv2", "stage2_block01/conv1")
BLOCKS = tuple(f"stage{s}_block{b:02d}" for s in (1, 2) for b in range(1, 8))

Draw = Callable[[np.random.Generator, Path], plots.Drawing]


def landscape(rng, shape):
    return Landscape(np.linspace(-1, 1, 5), np.exp(rng.normal(size=shape)), rng.uniform(size=shape))


def error_curves(rng):
    return [
        ErrorCurve(f"a-{d}", d, d == 20, *(part for _ in "ab" for part in (np.arange(3), rng.uniform(5, 50, 3))))
        for d in (20, 56)
    ]


def scales(rng):
    return {name: rng.uniform(size=6) for name in ("stem_norm", "stage1_block01/norm1", "stage1_block01/norm2")}


DRAWINGS: dict[str, Draw] = {
    "gradients": lambda rng, path: plots.draw_gradient_norms(
        {label: dict(zip(NAMES, rng.uniform(1e-3, 1, 4), strict=True)) for label in "ab"}, path
    ),
    "responses": lambda rng, path: plots.draw_responses(
        {label: dict(zip(NAMES, rng.uniform(size=4), strict=True)) for label in "ab"}, path
    ),
    "paths": lambda rng, path: plots.draw_path_lengths(PathLengths(np.arange(4), *rng.uniform(size=(3, 4))), path),
    "removed": lambda rng, path: plots.draw_removed_blocks(
        {
            "residual": dict(zip(("", *BLOCKS), rng.uniform(size=15), strict=True)),
            "plain": dict(zip(("", *BLOCKS[1:]), rng.uniform(size=14), strict=True)),
        },
        path,
    ),
    "numbers": lambda rng, path: plots.draw_removed_numbers([1, 2], {"a": rng.uniform(size=(2, 3))}, path),
    "permutations": lambda rng, path: plots.draw_permutations(
        {"a": Permutations(np.arange(2), *rng.uniform(size=(2, 2, 3)))}, path
    ),
    "lines": lambda rng, path: plots.draw_loss_lines({"a": landscape(rng, 5), "b": landscape(rng, 5)}, path),
    "square": lambda rng, path: plots.draw_loss_square(landscape(rng, (5, 5)), path),
    "gates": lambda rng, path: plots.draw_gates(
        Gates(BLOCKS[5:9], *(tuple(rng.uniform(size=n) for n in (4, 4, 6, 6)) for _ in range(3))), path
    ),
    "feature maps": lambda rng, path: plots.draw_feature_maps(
        rng.integers(0, 256, (8, 8, 3), np.uint8),
        {"stem": rng.uniform(size=(3, 8, 8)), "stage1": rng.uniform(size=(2, 4, 4))},
        path,
    ),
    "filters": lambda rng, path: plots.draw_filters(rng.uniform(size=(10, 3, 3, 3)), path),
    "scales": lambda rng, path: plots.draw_norm_scales(scales(rng), path),
    "weights": lambda rng, path: plots.draw_weight_histograms(
        WeightHistograms(NAMES, np.linspace(-4, 4, 10), rng.uniform(size=(4, 9))), path
    ),
    "degradation": lambda rng, path: plots.draw_degradation({kind: error_curves(rng) for kind in ("a", "b")}, path),
    "evidence": lambda rng, path: plots.draw_evidence(
        rng.integers(0, 256, (2, 8, 8, 3), np.uint8),
        Evidence(rng.uniform(size=(2, 8, 8)), np.array([0, 1]), np.array([0.5, 0.9])),
        ("cat", "dog"),
        path,
    ),
}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.int32)


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_shows_its_numbers(name, tmp_path):
    seen = []
    for seed in (0, 0, 1):
        drawing = DRAWINGS[name](np.random.default_rng(seed), tmp_path / "figure.png")
        assert drawing == plots.Drawing(tmp_path / "figure.png")
        seen.append(pixels(tmp_path / "figure.png"))
    np.testing.assert_array_equal(seen[0], seen[1])
    assert seen[0].shape != seen[2].shape or np.abs(seen[0] - seen[2]).max() > 50
    assert [file.name for file in tmp_path.iterdir()] == ["figure.png"]


def test_a_notebook_shows_what_was_written(tmp_path):
    drawing = DRAWINGS["lines"](np.random.default_rng(0), tmp_path / "figure.png")
    (tmp_path / "shown.png").write_bytes(drawing._repr_png_())
    written, shown = pixels(tmp_path / "figure.png"), pixels(tmp_path / "shown.png")
    assert written.shape == shown.shape
    assert np.abs(written - shown).mean() < 4  # of 255


def test_every_drawing_is_tried():
    # The curves and predictions of a run are drawn by tests/test_run.py, traces and batches by tests/test_dry_run.py.
    assert len(DRAWINGS) == len([name for name in plots.__all__ if name.startswith("draw_")]) - 4
