"""Residual networks in JAX: train, trust, understand and use them."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resnet_jax.config.options import Config
    from resnet_jax.evaluation.evaluate import evaluate
    from resnet_jax.evaluation.report import write_report
    from resnet_jax.export.write import export
    from resnet_jax.inference.predict import predict
    from resnet_jax.inference.restore import restore_run
    from resnet_jax.inference.trained import load_trained
    from resnet_jax.models.registry import create_model, list_models
    from resnet_jax.run.show_batch import show_batch
    from resnet_jax.run.train import train
    from resnet_jax.weights.pretrained import load_pretrained

__all__ = [
    "Config",
    "create_model",
    "evaluate",
    "export",
    "list_models",
    "load_pretrained",
    "load_trained",
    "predict",
    "restore_run",
    "show_batch",
    "train",
    "write_report",
]
__version__ = "0.1.0"

# Imported when they are first used: `import resnet_jax` alone loads neither JAX nor a data library.
_MODULES = {
    "Config": "config.options",
    "create_model": "models.registry",
    "evaluate": "evaluation.evaluate",
    "export": "export.write",
    "list_models": "models.registry",
    "load_pretrained": "weights.pretrained",
    "load_trained": "inference.trained",
    "predict": "inference.predict",
    "restore_run": "inference.restore",
    "show_batch": "run.show_batch",
    "train": "run.train",
    "write_report": "evaluation.report",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
