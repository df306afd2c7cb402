"""Residual networks in JAX: train, trust, understand and use them."""

from resnet_jax.inference.restore import restore_run
from resnet_jax.models.registry import create_model, list_models
from resnet_jax.weights.pretrained import load_pretrained

__all__ = ["create_model", "list_models", "load_pretrained", "restore_run"]
