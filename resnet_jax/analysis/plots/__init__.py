"""Figures, drawn without a display: each function takes numbers and writes one PNG, which a notebook shows."""
