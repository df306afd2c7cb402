"""Which torch layout a network has: one line a family, one file of rules each.

A new family is a file beside this one with its RULES, and a line in FAMILIES.
"""

import re

from resnet_jax.errors import InputError
from resnet_jax.weights.rules import alexnet, cifar_resnet, densenet, fcn, googlenet, resnet, resnet_variants, unet, vgg
from resnet_jax.weights.torch_layout import Rules

# Pattern of the whole name -> rules; the first that matches holds.
FAMILIES: dict[str, Rules] = {
    r"alexnet": alexnet.RULES,
    **vgg.RULES,
    r"googlenet": googlenet.RULES,
    r"densenet\d+": densenet.RULES,
    r"fcn_resnet\d+": fcn.RULES,
    r"unet_resnet\d+": unet.RULES,
    r"(resnet|plain)\d+_cifar": cifar_resnet.RULES,
    r"(resnet|plain)\d+(_v1)?|resnext.*|wide_resnet.*|resnetblur\d+": resnet.RULES,
    r"resnet\d+[dt]|resnetrs\d+|(se|eca)resnet\d+d": resnet_variants.DEEP,
    r"seresnet\d+": resnet_variants.ATTENTION,
    r"skresnet\d+": resnet_variants.SELECTIVE,
    r"resnetv2_.*": resnet_variants.PREACTIVATION,
}


def rules_for(name: str) -> Rules:
    """The rules of a network.

    Raises:
        InputError: the network has no torch layout.
    """
    for pattern, rules in FAMILIES.items():
        if re.fullmatch(pattern, name):
            return rules
    raise InputError(f"--model={name} has no torch layout; its weights come in files written by resnet_jax alone")
