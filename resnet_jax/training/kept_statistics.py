"""The batch normalizations whose statistics stay as they are in a training."""

from resnet_jax.optim.freeze import IsFrozen, frozen_by
from resnet_jax.optim.param_paths import layer_of


def kept_statistics(freeze: str, *, of_weights: bool, has_decoder: bool) -> IsFrozen | None:
    """Return the function from the path of a normalization's bias to whether its statistics stay; None: none stay.

    Args:
        freeze: parameters that are frozen, as `--freeze`; their statistics are too.
        of_weights: those of the classifier stay too (`--freeze_statistics`).
        has_decoder: there is a decoder around the classifier: a network for dense prediction.
    """
    if not (freeze or of_weights):
        return None
    is_frozen = frozen_by(freeze)
    if not of_weights:
        return is_frozen
    return lambda path: not has_decoder or layer_of(path) is not None or is_frozen(path)
