"""Options of a training that starts from trained weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TransferOptions:
    """Transfer."""

    init_from: str = ""
    """Weights to start from: a file, a hub id, or a run's folder

    Images are normalized and resized as these weights need it. The head keeps the classes whose names match.
    """
    init_checkpoint: str = "newest"
    """Checkpoint of the run in --init_from: newest, best, or a step"""
    weights_key: str = ""
    """One of several sets in a file, such as state_dict_ema; of a run: ema, its average

    The file or run is that of --init_from, or else the teacher's; where both are given it is refused.
    """
    freeze: str = ""
    """Parts that do not learn: stem..stage3, or patterns such as stage1_*,*/bias

    The statistics of their normalizations stay as they are.
    """
    unfreeze_at: float = 0.0
    """Epoch at which these parts begin to learn too. 0: never"""
    cache_features: int = 0
    """Epochs whose features are computed once, where the head alone learns. 0: none

    Later epochs see them again, so that the head trains in seconds.
    """
    freeze_statistics: bool = False
    """Normalize by the statistics of --init_from in training too (small sets)"""
    head_rate: float = 1.0
    """Rate of the head, relative to the others'"""
