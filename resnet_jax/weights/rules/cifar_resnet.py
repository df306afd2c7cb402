"""The CIFAR ResNets of akamaster/pytorch_resnet_cifar10; option A's shortcuts have no tensors."""

from resnet_jax.weights.rules import resnet

RULES = [
    (r"/conv_proj$", ".shortcut.0"),
    (r"/norm_proj$", ".shortcut.1"),
    (r"^head$", "linear"),
    *resnet.RULES,
]
