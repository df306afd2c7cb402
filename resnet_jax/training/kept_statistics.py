"""Which batch normalizations of a network in training keep the statistics that they have."""

from resnet_jax.optim.freeze import IsFrozen, frozen_by
from resnet_jax.optim.param_paths import layer_of


def kept_statistics(freeze: str, *, of_weights: bool, has_decoder: bool) -> IsFrozen | None:
    """Return the function from the path of a normalization's bias to whether its statistics stay; None: none stay.

    Args:
        freeze: parameters that are frozen, as `--freeze`; their statistics are too.
        of_weights: all that weights to start from have stay (`--freeze_statistics`).
        has_decoder: the network is one for dense prediction on a classifier; its decoder is in no weights.
    """
    if not of_weights:
        return frozen_by(freeze) if freeze else None
    return (lambda path: layer_of(path) is not None) if has_decoder else (lambda path: True)
