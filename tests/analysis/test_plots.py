"""Every drawing is written, and shows what it was given: other numbers, another picture."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from resnet_jax.analysis import plots
from resnet_jax.analysis.error_curves import ErrorCurve
from resnet_jax.analysis.gates import Gates
from resnet_jax.analysis.grad_cam import GradCam
from resnet_jax.analysis.landscape import Landscape
from resnet_jax.analysis.parameters import WeightHistograms
from resnet_jax.analysis.path_lengths import PathLengths
from resnet_jax.analysis.permutations import Permutations
from resnet_jax.analysis.plots.activations import draw_feature_maps, draw_responses
from resnet_jax.analysis.plots.calibration import svg_reliability
from resnet_jax.analysis.plots.canvas import Drawing, subplots
from resnet_jax.analysis.plots.curves import LOSS, label_axes, plot_curves, svg_curves, svg_curves_of_runs
from resnet_jax.analysis.plots.error_curves import draw_error_curves
from resnet_jax.analysis.plots.gates import draw_gates
from resnet_jax.analysis.plots.grad_cam import draw_grad_cam, overlay_map
from resnet_jax.analysis.plots.gradients import draw_gradient_norms
from resnet_jax.analysis.plots.images import draw_batch, draw_predictions
from resnet_jax.analysis.plots.landscape import draw_loss_lines, draw_loss_square
from resnet_jax.analysis.plots.lesions import draw_permutations, draw_removed_blocks, draw_removed_numbers
from resnet_jax.analysis.plots.parameters import draw_filters, draw_norm_scales, draw_weight_histograms
from resnet_jax.analysis.plots.path_lengths import draw_path_lengths

NAMES = ("stem_conv", "stage1_block01/conv1", "stage1_block01/conv2", "stage2_block01/conv1")
BLOCKS = tuple(f"stage{s}_block{b:02d}" for s in (1, 2) for b in range(1, 8))

Draw = Callable[[np.random.Generator, Path], Drawing]


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
    "gradients": lambda rng, path: draw_gradient_norms(
        {label: dict(zip(NAMES, rng.uniform(1e-3, 1, 4), strict=True)) for label in "ab"}, path
    ),
    "responses": lambda rng, path: draw_responses(
        {label: dict(zip(NAMES, rng.uniform(size=4), strict=True)) for label in "ab"}, path
    ),
    "paths": lambda rng, path: draw_path_lengths(PathLengths(np.arange(4), *rng.uniform(size=(3, 4))), path),
    "removed": lambda rng, path: draw_removed_blocks(
        {
            "residual": dict(zip(("", *BLOCKS), rng.uniform(size=15), strict=True)),
            "plain": dict(zip(("", *BLOCKS[1:]), rng.uniform(size=14), strict=True)),
        },
        path,
    ),
    "numbers": lambda rng, path: draw_removed_numbers([1, 2], {"a": rng.uniform(size=(2, 3))}, path),
    "permutations": lambda rng, path: draw_permutations(
        {"a": Permutations(np.arange(2), *rng.uniform(size=(2, 2, 3)))}, path
    ),
    "lines": lambda rng, path: draw_loss_lines({name: landscape(rng, 5) for name in ("a-seed0", "a-seed1", "b")}, path),
    "square": lambda rng, path: draw_loss_square(landscape(rng, (5, 5)), path),
    "gates": lambda rng, path: draw_gates(
        Gates(BLOCKS[5:9], *(tuple(rng.uniform(size=n) for n in (4, 4, 6, 6)) for _ in range(3))), path
    ),
    "feature maps": lambda rng, path: draw_feature_maps(
        rng.integers(0, 256, (8, 8, 3), np.uint8),
        {"stem": rng.uniform(size=(3, 8, 8)), "stage1": rng.uniform(size=(2, 4, 4))},
        path,
    ),
    "filters": lambda rng, path: draw_filters(rng.uniform(size=(10, 3, 3, 3)), path),
    "scales": lambda rng, path: draw_norm_scales(scales(rng), path),
    "weights": lambda rng, path: draw_weight_histograms(
        WeightHistograms(NAMES, np.linspace(-4, 4, 10), rng.uniform(size=(4, 9))), path
    ),
    "degradation": lambda rng, path: draw_error_curves({kind: error_curves(rng) for kind in ("a", "b")}, path),
    "evidence": lambda rng, path: draw_grad_cam(
        rng.integers(0, 256, (2, 8, 8, 3), np.uint8),
        GradCam(rng.uniform(size=(2, 8, 8)), np.array([0, 1]), np.array([0.5, 0.9])),
        ("cat", "dog"),
        path,
    ),
}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.int32)


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_shows_its_numbers(name, tmp_path):
    seen = []
    for seed in (0, 0, 1):
        drawing = DRAWINGS[name](np.random.default_rng(seed), tmp_path / "figure.png")
        assert drawing == Drawing(tmp_path / "figure.png")
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


def rows(*losses):
    train = [{"step": k, "split": "train", "loss": loss, "top1": 0.5} for k, loss in enumerate(losses)]
    return [*train, {"step": len(losses), "split": "eval", "loss": losses[-1], "top1": 0.25}]


def test_a_figure_of_a_page_has_ids_of_its_own_and_the_color_of_the_text():
    drawn = [*svg_curves(rows(2.0, 1.0)), svg_reliability(np.array([2, 3]), np.array([0.5, np.nan]))]
    ids = [name for svg in drawn for name in re.findall(r'\bid="([^"]+)"', svg)]
    assert len(set(ids)) == len(ids) > 10
    for svg in drawn:
        element = ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1))
        assert element.get("aria-label")
        assert set(re.findall(r"(?:url\(|href=\")#([^\")]+)", svg)) <= set(ids)
        assert "#000000" not in svg
        assert "currentColor" in svg
        assert "<style" not in svg
    assert "training</text>" in drawn[0]
    assert drawn == [*svg_curves(rows(2.0, 1.0)), svg_reliability(np.array([2, 3]), np.array([0.5, np.nan]))]


def test_the_axes_of_several_runs_hold_all_of_them():
    _, axes = subplots(figsize=(4, 3))
    plot_curves(axes, rows(0.2, 0.1), LOSS)
    plot_curves(axes, rows(7.0, 5.0), LOSS)
    label_axes(axes, LOSS)
    low, high = axes.get_ylim()
    assert low < 0.1
    assert high > 7
    names = ["_a", "$x$ <b>"]
    for svg in svg_curves_of_runs([(name, rows(1.0, 2.0)) for name in names]):
        assert "_a</text>" in svg
        assert "$x$ &lt;b&gt;</text>" in svg


def test_more_runs_than_colors_differ_by_their_dashes():
    (svg, _) = svg_curves_of_runs([(f"run{number}", rows(1.0, 2.0)) for number in range(20)])
    assert svg.count("stroke-dasharray") >= 2 * (20 - 9)


def test_dollar_signs_in_names_are_no_formulas(tmp_path):
    images = np.zeros((2, 4, 4, 3))
    draw_batch(images, ["US$ note_$x", "$_$"], tmp_path / "batch.png", "$_$")
    draw_predictions(images, ["$_$", "a"], ["$_$", "$_$"], [0.5, 0.5], tmp_path / "predictions.png")
    assert (tmp_path / "batch.png").stat().st_size
    assert (tmp_path / "predictions.png").stat().st_size


def test_an_overlay_is_a_mixture():
    image = np.full((2, 2, 3), 100, np.uint8)
    found = overlay_map(image, np.array([[0.0, 1.0], [0.0, 1.0]]))
    # The ends of the colors are a dark blue and a dark red, of 127 and 128 levels.
    assert found[0, 0].tolist() == [55, 55, round(0.55 * 100 + 0.45 * 127)]
    assert found[0, 1].tolist() == [round(0.55 * 100 + 0.45 * 127), 55, 55]


def test_every_drawing_is_tried():
    names = re.findall(r"^def (draw_\w+)", "".join(f.read_text() for f in Path(plots.__path__[0]).glob("*.py")), re.M)
    # Curves, rate tests and predictions of a run, settings and batches are drawn in tests/run and tests/experiments.
    assert len(DRAWINGS) == len(names) - 5
