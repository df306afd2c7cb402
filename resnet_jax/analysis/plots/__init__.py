"""Figures, drawn without a display: each function takes numbers and writes one PNG, which a notebook shows."""

from resnet_jax.analysis.plots.canvas import Drawing
from resnet_jax.analysis.plots.degradation import draw_degradation
from resnet_jax.analysis.plots.evidence import draw_evidence
from resnet_jax.analysis.plots.feature_maps import draw_feature_maps
from resnet_jax.analysis.plots.gates import draw_gates
from resnet_jax.analysis.plots.landscape import draw_loss_lines, draw_loss_square
from resnet_jax.analysis.plots.layers import draw_gradient_norms, draw_responses
from resnet_jax.analysis.plots.lesions import draw_permutations, draw_removed_blocks, draw_removed_numbers
from resnet_jax.analysis.plots.parameters import draw_filters, draw_norm_scales, draw_weight_histograms
from resnet_jax.analysis.plots.paths import draw_path_lengths
from resnet_jax.analysis.plots.runs import draw_curves, draw_predictions
from resnet_jax.analysis.plots.training import draw_batch, draw_trace

__all__ = [
    "Drawing",
    "draw_batch",
    "draw_curves",
    "draw_degradation",
    "draw_evidence",
    "draw_feature_maps",
    "draw_filters",
    "draw_gates",
    "draw_gradient_norms",
    "draw_loss_lines",
    "draw_loss_square",
    "draw_norm_scales",
    "draw_path_lengths",
    "draw_permutations",
    "draw_predictions",
    "draw_removed_blocks",
    "draw_removed_numbers",
    "draw_responses",
    "draw_trace",
    "draw_weight_histograms",
]
