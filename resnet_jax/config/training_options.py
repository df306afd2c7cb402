"""Options of the optimization: length, update rule, schedule, regularization, loss, average of the weights."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class BatchAndLengthOptions:
    """Batch and length."""

    batch_size: int = 256
    """Examples a step, over all devices and hosts"""
    eval_batch_size: int = 0
    """Examples an evaluation step. 0: --batch_size; the result does not depend on it"""
    epochs: float = 90.0
    """Length of the training, in epochs"""
    steps: int = 0
    """Length of the training, in steps. 0: --epochs decides"""
    patience: int = 0
    """Evaluations in a row without a better one after which the training ends. 0: it goes on"""
    accumulate: int = 1
    """Micro-batches of a step, one after the other, to save memory

    Each is normalized by itself, or in groups of bn_group_size, which gives what the whole batch would give.
    """
    steps_per_call: int = 1
    """Steps in one device call, for small networks on sets that the device holds

    On a GPU small networks wait for the host otherwise. A chunk of steps ends early where a log line, a checkpoint or
    an evaluation is due.
    """


@dataclass(frozen=True)
class OptimizerOptions:
    """Optimizer."""

    optimizer: Literal["sgd", "adamw", "lamb", "lars", "muon", "rmsprop"] = "sgd"
    """Update rule

    Muon updates matrices and kernels; stem, head and the rest are updated by SGD of momentum 0.9 at the same rate.
    """
    momentum: float = 0.9
    """Momentum of SGD, LARS, Muon and RMSprop; beta1 of Adam and LAMB"""
    nesterov: bool = False
    """Nesterov momentum, with SGD, LARS and Muon"""
    clip_norm: float = 0.0
    """Largest norm of the whole gradient. 0: no limit"""
    adaptive_clip: float = 0.0
    """Largest gradient norm of a unit, relative to its weights (Brock et al. 2021). 0: none"""


@dataclass(frozen=True)
class LearningRateOptions:
    """Learning rate."""

    learning_rate: float = 0.1
    """Peak rate for a batch of --reference_batch_size"""
    reference_batch_size: int = 256
    """Batch size of --learning_rate. 0: the rate does not scale with the batch"""
    rate_scaling: Literal["linear", "sqrt"] = "linear"
    """Growth of the rate with the batch size

    Linear for SGD (Goyal et al. 2017), the square root for Adam and LAMB.
    """
    schedule: Literal["step", "cosine", "linear", "polynomial", "constant", "plateau"] = "step"
    """Decay after the warm-up

    Linear with a warm-up is the one-cycle schedule; polynomial is a square; plateau: by --milestone_factor each time
    that the training loss stops falling.
    """
    milestones: tuple[float, ...] = ()
    """Drops of the step schedule, as fractions of the training"""
    milestone_factor: float = 0.1
    """Factor of each drop"""
    plateau_patience: int = 5
    """Epochs without a lower training loss after which the plateau schedule drops"""
    final_fraction: float = 0.0
    """Last rate as a fraction of the peak (cosine, linear, polynomial)"""
    warmup_fraction: float = 0.0
    """Length of the warm-up, as a fraction of the training"""
    warmup: Literal["linear", "constant"] = "linear"
    """Warm-up: climb to the peak, or stay at the first rate"""
    warmup_learning_rate: float = 0.0
    """First rate of the warm-up, not scaled with the batch, never above the peak"""
    warmup_from: float = 0.0
    """First rate as a fraction of the peak; the larger of the two counts"""
    layer_decay: float = 1.0
    """Rate of each block relative to the next one's; below 1 for fine-tuning"""
    norm_bias_rate: float = 1.0
    """Rate of normalization biases relative to the others' (airbench: 64)"""
    stem_fraction: float = 1.0
    """Fraction of the training after which the stem is frozen"""


@dataclass(frozen=True)
class RegularizationOptions:
    """Regularization."""

    weight_decay: float = 1e-4
    """Coefficient of the weight decay"""
    decay: Literal["", "l2", "decoupled"] = ""
    """Weight decay in the gradient, or in the update. Empty: as published

    The decoupled decay is multiplied by the rate. Empty: as the optimizer was published.
    """
    decay_norm_and_bias: bool = True
    """Decay normalization scales and biases too"""
    stochastic_depth: float = 0.0
    """Probability of dropping the last residual block, rising linearly from 0 with depth"""
    dropout: float = 0.0
    """Dropout rate, in networks that have dropout. 0: the network's own"""


@dataclass(frozen=True)
class LossOptions:
    """Loss."""

    loss: Literal["cross_entropy", "binary_cross_entropy", "dice", "entropy_and_dice", "focal"] = "cross_entropy"
    """Loss

    Cross-entropy of a softmax, or of one sigmoid per class; for masks also dice, its sum with cross-entropy, and focal.
    """
    target_threshold: float = -1.0
    """With binary cross-entropy: targets above it become 1, others 0. Negative: unchanged"""
    class_weights: Literal["", "balanced", "median_frequency", "log_frequency"] = ""
    """Weight of an example in the loss. Empty: 1

    balanced: in inverse proportion to the number of examples of its class, 1 on average over the training set; of mixed
    examples, the mean of their classes. For masks, the weight of a pixel: balanced; median_frequency, which counts the
    pixels of the pictures that have the class; or log_frequency, ENet's, by ln(1.02 + a class's share): milder.
    The loss of an evaluation is never weighted.
    """
    label_smoothing: float = 0.0
    """Fraction of the target spread over all classes"""
    teacher: str = ""
    """Distill from this run's folder, or this network with --teacher_weights"""
    teacher_weights: str = ""
    """Weights of the teacher: a file or a hub id"""
    distill_weight: float = 0.5
    """Weight of the teacher in the loss, 0 to 1"""
    temperature: float = 1.0
    """Temperature of both softmaxes (Hinton et al. 2015). 0: the teacher's best class"""


@dataclass(frozen=True)
class AverageOptions:
    """Average of the weights."""

    ema: float = 0.0
    """Decay of the exponential moving average of the weights. 0: none

    The average is evaluated beside the weights, and decides which checkpoint is the best.
    """
    ema_fraction: float = 0.0
    """The same as a time, a fraction of the training; overrides --ema"""
    ema_every: int = 1
    """Steps between updates of the average"""
    ema_rise: Literal["none", "ramp", "copy", "cubic"] = "ramp"
    """Rise of the decay at the start

    ramp: at most (1 + n) / (10 + n) at the n-th update; copy: 0 during the warm-up of the rate; cubic: with the cube of
    the step.
    """
    lookahead: bool = False
    """Reset the weights to their average at every update (Zhang et al. 2019)

    The average is then not evaluated separately.
    """
