"""The optimizers of the recipes, by name."""

import optax

from resnet_jax.optim.clipping import clip
from resnet_jax.optim.lr_scale import scale_learning_rates
from resnet_jax.optim.muon import muon, normalize_matrices
from resnet_jax.optim.trust_ratio import lamb, lars
from resnet_jax.optim.weight_decay import add_decay

DECAYS = {  # the first is the optimizer's own
    "sgd": ("l2", "decoupled"),
    "adamw": ("decoupled", "l2"),
    "rmsprop": ("l2",),
    "lars": ("l2",),
    "lamb": ("decoupled",),
    "muon": ("decoupled",),
}
BETA2 = {"adamw": 0.999, "lamb": 0.999, "rmsprop": 0.9}
EPSILON = {"adamw": 1e-8, "lamb": 1e-6, "rmsprop": 1e-10, "lars": 1e-7, "muon": 1e-7}


def make_optimizer(
    kind: str,
    schedule: optax.Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    beta2: float = 0.0,
    epsilon: float = 0.0,
    weight_decay: float = 0.0,
    decay: str = "",
    decay_norm_and_bias: bool = True,
    clip_norm: float = 0.0,
    adaptive_clip: float = 0.0,
    layer_decay: float = 1.0,
    norm_bias_rate: float = 1.0,
    trust_coefficient: float = 0.001,
    other_rate: float = 1.0,
    other_momentum: float = 0.9,
    newton_schulz_steps: int = 5,
    normalized_matrices: bool = False,
) -> optax.GradientTransformation:
    """The optax transformation `tx`. Its state has one shape under every schedule.

    Args:
        kind: "sgd" (torch's, without dampening), "adamw", "lars" (MLPerf's), "lamb" (timm's, which clips gradients to a
            `clip_norm` of 1), "muon", or "rmsprop" (TensorFlow's and timm's RMSpropTF: epsilon inside the root, squares
            that start from 1, the rate inside the momentum).
        schedule: the learning rate as a function of the step.
        momentum: the first decay of "adamw" and "lamb".
        nesterov: Nesterov's form of the momentum, of "sgd", "lars" and "muon"; the others have none.
        beta2: how slowly the squares of "adamw", "lamb" and "rmsprop" are forgotten. 0: 0.999, of "rmsprop" 0.9.
        epsilon: what keeps a denominator from 0, of all but "sgd". 0: the reference's own, in `EPSILON`.
        weight_decay: the coefficient.
        decay: "l2" is added to the gradient, before momentum; "decoupled" is multiplied by the rate alone (Loshchilov
            and Hutter 2019, as in torch: rate times coefficient). "": the optimizer's own, the first in `DECAYS`.
        decay_norm_and_bias: whether normalization scales and biases decay too (fb.resnet.torch) or not (Goyal et al.).
            "lars" and "lamb" leave them out of decay and trust ratio in any case.
        clip_norm: largest norm of all gradients together. 0: no limit.
        adaptive_clip: largest ratio of a unit's gradient to the unit (Brock et al. 2021). 0: no limit.
        layer_decay: in (0, 1], the rate of each block as a multiple of the next one's; see `learning_rate_multipliers`.
        norm_bias_rate: the rate of normalization biases as a multiple of the others'; their decay per step stays.
        trust_coefficient: of "lars".
        other_rate: for "muon", the rate of what is no matrix, of stem and head, as a multiple of the matrices'. They
            are moved by SGD with L2, as in airbench94_muon.
        other_momentum: of that SGD, Nesterov's form where the matrices have it.
        newton_schulz_steps: of "muon".
        normalized_matrices: for "muon", normalize the matrices before each step, in place of their decay.

    Raises:
        ValueError: an unknown kind, or a decay that the kind does not have.
        InputError: a `layer_decay` or `norm_bias_rate` out of range.
    """
    if kind not in DECAYS:
        raise ValueError(f"there is no optimizer {kind!r}")
    decay = decay or DECAYS[kind][0]
    if decay not in DECAYS[kind]:
        raise ValueError(f"the weight decay of {kind!r} is {' or '.join(map(repr, DECAYS[kind]))}, not {decay!r}")
    beta2, epsilon = beta2 or BETA2.get(kind, 0.0), epsilon or EPSILON.get(kind, 0.0)
    rates = scale_learning_rates(layer_decay=layer_decay, norm_bias_rate=norm_bias_rate)
    decaying = add_decay(weight_decay, decay_norm_and_bias=decay_norm_and_bias, norm_bias_rate=norm_bias_rate)
    by_rate = optax.scale_by_learning_rate(schedule)

    if kind == "sgd" and decay == "l2":
        stages = [decaying, optax.sgd(schedule, momentum=momentum, nesterov=nesterov)]
    elif kind == "sgd":
        stages = [optax.trace(momentum, nesterov=nesterov), decaying, by_rate]
    elif kind == "adamw":
        adam = optax.scale_by_adam(momentum, beta2, epsilon)
        stages = [*([decaying, adam] if decay == "l2" else [adam, decaying]), by_rate]
    elif kind == "rmsprop":
        rms = optax.scale_by_rms(beta2, epsilon, initial_scale=1.0, eps_in_sqrt=True)
        stages = [decaying, rms, by_rate, optax.trace(momentum)]
    elif kind == "lars":
        stages = [
            lars(
                schedule,
                momentum=momentum,
                nesterov=nesterov,
                weight_decay=weight_decay,
                trust_coefficient=trust_coefficient,
                epsilon=epsilon,
            )
        ]
    elif kind == "lamb":
        stages = [lamb(schedule, beta1=momentum, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay)]
    else:
        others = optax.chain(
            decaying,
            optax.sgd(lambda step: other_rate * schedule(step), momentum=other_momentum, nesterov=nesterov),
        )
        matrices_decay = add_decay(0.0 if normalized_matrices else weight_decay)
        stages = [
            muon(
                schedule,
                others,
                matrices_decay,
                momentum=momentum,
                nesterov=nesterov,
                steps=newton_schulz_steps,
                epsilon=epsilon,
            )
        ]

    stages = [*clip(adaptive=adaptive_clip, norm=clip_norm), *stages]
    if (layer_decay, norm_bias_rate) != (1.0, 1.0):
        stages.append(rates)
    if kind == "muon" and normalized_matrices:
        stages.append(normalize_matrices())
    return optax.chain(*stages)
