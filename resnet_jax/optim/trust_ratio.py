"""LARS and LAMB, optimizers that scale a layer's update to the norm of the layer's kernel.

Neither scales or decays norms and biases, as in MLPerf's rules and in timm.
"""

import jax
import jax.numpy as jnp
import optax

from resnet_jax.optim.weight_decay import decay_mask


def scale_by_lars(weight_decay: float, trust_coefficient: float, epsilon: float) -> optax.GradientTransformation:
    """Multiply a kernel's gradient with its decay by `trust_coefficient * |w| / (|g| + weight_decay * |w| + epsilon)`.

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
    """Return LARS (You et al. 2017) as in MLPerf's reference for ResNet-50, which optax's is not.

    optax divides by |g + weight_decay * w| where the reference divides by |g| + weight_decay * |w|. The learning
    rate is inside the momentum here as there; timm's Lars has it outside, which differs while it changes.

    Args:
        schedule: the learning rate as a function of the step.
        momentum: of learning rate times adapted gradient.
        nesterov: Nesterov's form.
        weight_decay: L2 coefficient of kernels.
        trust_coefficient: the reference's eeta.
        epsilon: added to the denominator. The reference sets 0, for which Keras uses 1e-7.
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
    """Return LAMB (You et al. 2020) as in timm's Lamb: optax's, but norms and biases get Adam's update unscaled.

    The decay of kernels is added to Adam's direction before it is scaled. timm's also clips gradients to a global norm
    of 1, which `clip_norm` of `make_optimizer` does.
    """
    return optax.chain(
        optax.scale_by_adam(beta1, beta2, epsilon),
        optax.add_decayed_weights(weight_decay, mask=decay_mask),
        optax.masked(optax.scale_by_trust_ratio(), decay_mask),
        optax.scale_by_learning_rate(schedule),
    )
