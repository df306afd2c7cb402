"""Optimizers that set the length of a layer's update by the length of the layer: LARS and LAMB.

Neither touches norms and biases with it, nor lets them decay, as in MLPerf's rules and in timm.
"""

import jax
import jax.numpy as jnp
import optax

from resnet_jax.optim.weight_decay import decay_mask


def scale_by_lars(weight_decay: float, trust_coefficient: float, epsilon: float) -> optax.GradientTransformation:
    """A kernel's gradient with its decay, times `trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)`.

    The norms are of the whole kernel. The factor is 1 where either is 0.
    """

    def adapt(gradient: jax.Array, kernel: jax.Array) -> jax.Array:
        kernel_norm, gradient_norm = optax.tree.norm(kernel), optax.tree.norm(gradient)
        ratio = trust_coefficient * kernel_norm / (gradient_norm + weight_decay * kernel_norm + epsilon)
        ratio = jnp.where((kernel_norm > 0) & (gradient_norm > 0), ratio, 1.0)
        return ratio * (gradient + weight_decay * kernel)

    return optax.stateless(lambda updates, params: jax.tree.map(adapt, updates, params))


def lars(
    schedule: optax.Schedule,
    *,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    trust_coefficient: float = 0.001,
    epsilon: float = 1e-7,
) -> optax.GradientTransformation:
    """LARS (You et al. 2017) as in MLPerf's reference for ResNet-50, which optax's is not.

    optax divides by |g + weight_decay * w| where the reference divides by |g| + weight_decay * |w|. The rate is inside
    the momentum here as there; timm's Lars has it outside, which differs while the rate changes.

    Args:
        schedule: the learning rate as a function of the step.
        momentum: of rate times adapted gradient.
        nesterov: Nesterov's form.
        weight_decay: L2 coefficient of kernels.
        trust_coefficient: the reference's eeta.
        epsilon: added to the denominator. The reference's option says 0, for which it takes Keras's 1e-7.
    """
    return optax.chain(
        optax.masked(scale_by_lars(weight_decay, trust_coefficient, epsilon), decay_mask),
        optax.scale_by_learning_rate(schedule),
        optax.trace(momentum, nesterov=nesterov),
    )


def lamb(
    schedule: optax.Schedule,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-6,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """LAMB (You et al. 2020) as in timm's Lamb: optax's, but norms and biases take Adam's step as it is.

    The decay is added to Adam's direction of the kernels before its length is set. timm's clips gradients to a global
    norm of 1 besides, which is not done here.
    """
    return optax.chain(
        optax.scale_by_adam(beta1, beta2, epsilon),
        optax.add_decayed_weights(weight_decay, mask=decay_mask),
        optax.masked(optax.scale_by_trust_ratio(), decay_mask),
        optax.scale_by_learning_rate(schedule),
    )
