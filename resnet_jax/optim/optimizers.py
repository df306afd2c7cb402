"""The optimizers of the recipes, by name."""

import optax

from resnet_jax.optim.clipping import clip
from resnet_jax.optim.lr_scale import scale_learning_rates
from resnet_jax.optim.muon import muon
from resnet_jax.optim.trust_ratio import lamb, lars
from resnet_jax.optim.weight_decay import add_decay

DECAYS = {  # the kinds of weight decay that an optimizer has, its own first
    "sgd": ("l2", "decoupled"),
    "adamw": ("decoupled", "l2"),
    "rmsprop": ("l2",),
    "lars": ("l2",),
    "lamb": ("decoupled",),
    "muon": ("decoupled",),
}


def make_optimizer(
    kind: str,
    schedule: optax.Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    decay: str = "",
    decay_norm_and_bias: bool = True,
    clip_norm: float = 0.0,
    adaptive_clip: float = 0.0,
    layer_decay: float = 1.0,
    norm_bias_rate: float = 1.0,
    head_rate: float = 1.0,
) -> optax.GradientTransformation:
    """Return the optax transformation `tx`, whose state has the same structure under every schedule.

    Args:
        kind: "sgd" (torch's, without dampening), "adamw", "lars" (MLPerf's), "lamb" (timm's, which clips gradients to a
            `clip_norm` of 1), "muon" (for stem, head, norms and biases SGD with L2, as in airbench94_muon), or
            "rmsprop" (TensorFlow's and timm's RMSpropTF).
        schedule: the learning rate as a function of the step.
        momentum: in [0, 1); beta1 of "adamw" and "lamb".
        nesterov: Nesterov's form of the momentum, of "sgd", "lars" and "muon"; the others have none.
        weight_decay: the coefficient.
        decay: "l2" adds coefficient times parameter to the gradient, before momentum; "decoupled" multiplies it by the
            learning rate alone (Loshchilov and Hutter 2019, as in torch: learning rate times coefficient). "": the
            optimizer's own, the first in `DECAYS`.
        decay_norm_and_bias: also decay normalization scales and biases (fb.resnet.torch), or not (Goyal et al. 2017).
            "lars" and "lamb" leave them out of decay and trust ratio in any case.
        clip_norm: largest norm of all gradients together. 0: no limit.
        adaptive_clip: largest ratio of a unit's gradient to the unit (Brock et al. 2021). 0: no limit.
        layer_decay: in (0, 1], the learning rate of each block as a multiple of the next one's; see
            `learning_rate_multipliers`.
        norm_bias_rate: the learning rate of normalization biases as a multiple of the others'; their decay per step
            stays the same.
        head_rate: the learning rate of the head as a multiple of the others'.

    Raises:
        ValueError: an unknown kind, or a decay that the kind does not have.
        InputError: a `layer_decay`, `norm_bias_rate` or `head_rate` out of range.
    """
    if kind not in DECAYS:
        raise ValueError(f"there is no optimizer {kind!r}")
    decay = decay or DECAYS[kind][0]
    if decay not in DECAYS[kind]:
        raise ValueError(f"the weight decay of {kind!r} is {' or '.join(map(repr, DECAYS[kind]))}, not {decay!r}")
    multipliers = scale_learning_rates(layer_decay=layer_decay, norm_bias_rate=norm_bias_rate, head_rate=head_rate)
    decaying = add_decay(weight_decay, decay_norm_and_bias=decay_norm_and_bias, norm_bias_rate=norm_bias_rate)
    momenta = {"momentum": momentum, "nesterov": nesterov}

    if kind == "sgd":
        stages = sgd(schedule, decaying, decay, **momenta)
    elif kind == "adamw":
        stages = adamw(schedule, decaying, decay, beta1=momentum)
    elif kind == "rmsprop":
        stages = rmsprop(schedule, decaying, momentum=momentum)
    elif kind == "lars":
        stages = [lars(schedule, weight_decay=weight_decay, **momenta)]
    elif kind == "lamb":
        stages = [lamb(schedule, beta1=momentum, weight_decay=weight_decay)]
    elif kind == "muon":
        others = optax.chain(decaying, optax.sgd(schedule, momentum=0.9, nesterov=nesterov))
        stages = [muon(schedule, others, add_decay(weight_decay), **momenta)]
    else:
        raise ValueError(f"the optimizer {kind!r} is in DECAYS, but has no branch here")

    stages = [*clip(adaptive=adaptive_clip, norm=clip_norm), *stages]
    if (layer_decay, norm_bias_rate, head_rate) != (1.0, 1.0, 1.0):
        stages.append(multipliers)
    return optax.chain(*stages)


# The next three return the stages of one chain: checkpoints hold the state of a chain that is not nested.
Stages = list[optax.GradientTransformation]


def sgd(
    schedule: optax.Schedule,
    decaying: optax.GradientTransformation,
    decay: str = "l2",
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
) -> Stages:
    """Return SGD with momentum as in torch, whose L2 decay goes into the momentum and whose decoupled decay does not.

    Args:
        schedule: the learning rate as a function of the step.
        decaying: adds the weight decay.
        decay: "l2" or "decoupled".
        momentum: in [0, 1).
        nesterov: Nesterov's form.
    """
    if decay == "l2":
        return [decaying, optax.sgd(schedule, momentum=momentum, nesterov=nesterov)]
    return [optax.trace(momentum, nesterov=nesterov), decaying, optax.scale_by_learning_rate(schedule)]


def adamw(
    schedule: optax.Schedule,
    decaying: optax.GradientTransformation,
    decay: str = "decoupled",
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> Stages:
    """Return AdamW (Loshchilov and Hutter 2019), or Adam with `decay="l2"`; arguments as in `sgd`."""
    adam = optax.scale_by_adam(beta1, beta2, epsilon)
    return [*([decaying, adam] if decay == "l2" else [adam, decaying]), optax.scale_by_learning_rate(schedule)]


def rmsprop(
    schedule: optax.Schedule,
    decaying: optax.GradientTransformation,
    *,
    momentum: float = 0.9,
    beta2: float = 0.9,
    epsilon: float = 1e-10,
) -> Stages:
    """Return RMSprop with L2 decay as in TensorFlow and in timm's RMSpropTF; arguments as in `sgd`.

    Epsilon stands inside the root, mean squares start from 1, and the learning rate goes into the momentum.
    """
    rms = optax.scale_by_rms(beta2, epsilon, initial_scale=1.0, eps_in_sqrt=True)
    return [decaying, rms, optax.scale_by_learning_rate(schedule), optax.trace(momentum)]
