"""Figures as PNG files and as SVG for a page; the only module that imports matplotlib, and late, so that a run loads it
only to draw.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np

from resnet_jax.files.atomic import atomic_path


@dataclass(frozen=True)
class Drawing:
    """A written PNG, which a notebook displays as the last value of a cell.

    Attributes:
        path: the file.
    """

    path: Path

    def _repr_png_(self) -> bytes:
        # A notebook carries its figures within it; 256 colors, dithered, take a third of the bytes of a photograph.
        from PIL import Image

        written, reduced = self.path.read_bytes(), io.BytesIO()
        colors = Image.open(io.BytesIO(written)).convert("RGB")
        palette = colors.quantize(256, Image.Quantize.FASTOCTREE)
        colors.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(reduced, "PNG", optimize=True)
        return min(written, reduced.getvalue(), key=len)


def subplots(*args: Any, layout: Literal["constrained"] | None = "constrained", **kwargs: Any) -> Any:
    """Return a figure and its axes, as pyplot's function of that name does.

    The constrained layout makes room for all text, and takes half of the time of drawing.
    """
    # The object-oriented way: pyplot would keep every figure and might look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=kwargs.pop("figsize"), layout=layout)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(*args, **kwargs)


def save(figure: Any, path: Path) -> Drawing:
    """Write a figure as a PNG, atomically."""
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png")
    return Drawing(path)


def svg_text(figure: Any, prefix: str, title: str) -> str:
    """Return a figure as an <svg> element for a page, and its lines and text in the color of the page's text.

    Args:
        figure: drawn in black where the page's color is wanted.
        prefix: of the element's ids, which must not be those of another figure on the page.
        title: what a screen reader says.
    """
    from matplotlib import rc_context

    for axes in figure.axes:
        if legend := axes.get_legend():
            legend.set_frame_on(False)  # its background is white
    written = io.StringIO()
    # Text stays text, in the page's font. Without dates and addresses in its head, equal figures are equal text.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix, "font.family": ["sans-serif"]}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(written, format="svg", transparent=True, metadata=nothing)
    drawn = written.getvalue()
    size = re.search(r'viewBox="([^"]+)"', drawn)
    body = drawn[drawn.index(">", drawn.index("<svg")) + 1 :]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # would count for the whole page
    body = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", body)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", body)
    return (
        f'<svg viewBox="{size[1] if size else ""}" role="img" aria-label="{escape(title)}" fill="currentColor" '
        f'stroke-linejoin="round" stroke-linecap="butt">{body.replace("#000000", "currentColor")}'
    )


def colored(values: np.ndarray, colormap: str) -> np.ndarray:
    """Return uint8 [...,3], the colors of values in [0, 1]."""
    from matplotlib import colormaps

    return colormaps[colormap](values, bytes=True)[..., :3]


def mark_stages(axes: Any, names: Sequence[str], along: str = "x") -> None:
    """Divide an axis of layers or blocks, one a unit from 0 on, where a new stage begins, and name the stages."""
    parts = [next((part.split("_")[0] for part in name.split("/") if part.startswith("stage")), "") for name in names]
    start = 0
    for part, members in groupby(parts):
        end = start + len(list(members))
        if part and start:
            (axes.axvline if along == "x" else axes.axhline)(start - 0.5, color="black", lw=0.8, ls=":", alpha=0.6)
        if part and along == "x":
            axes.annotate(
                part.replace("stage", "stage "),
                ((start + end - 1) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8,
            )
        start = end
