"""The layouts of others that a network's weights come in: one line a family, one file of rules each.

A new family is a file beside this one with its RULES, and a line in FAMILIES.
"""

import re

from resnet_jax.errors import InputError
from resnet_jax.weights.layout import Layout
from resnet_jax.weights.rules import (
    alexnet,
    bit,
    cifar_resnet,
    densenet,
    fcn,
    googlenet,
    hugging_face,
    resnet,
    resnet_variants,
    unet,
    vgg,
)
from resnet_jax.weights.torch_layout import Rules, torch_layout

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

# Pattern of the whole name -> layouts of the same networks elsewhere.
ELSEWHERE: dict[str, list[Layout]] = {
    r"resnet\d+(_v1)?": [torch_layout(hugging_face.RULES), torch_layout(hugging_face.WITHOUT_HEAD)],
    r"resnetv2_\w+_bit": [bit.LAYOUT],
    r"densenet\d+": [torch_layout(densenet.FILE_RULES)],
}


def rules_for(name: str) -> Rules:
    """Return the rules of a network's torch layout.

    Raises:
        InputError: the network has none.
    """
    if rules := _find_rules(name):
        return rules
    raise InputError(f"--model={name} has no torch layout; its weights come in files written by resnet_jax alone")


def has_torch_layout(name: str) -> bool:
    """Return whether there is a torch layout for a network of this name."""
    return _find_rules(name) is not None


def _find_rules(name: str) -> Rules | None:
    return next((rules for pattern, rules in FAMILIES.items() if re.fullmatch(pattern, name)), None)


def layouts_for(name: str) -> list[Layout]:
    """Return every layout of others in which a network's weights are read, torch's first.

    Raises:
        InputError: there is none.
    """
    others = [layout for pattern, layouts in ELSEWHERE.items() if re.fullmatch(pattern, name) for layout in layouts]
    return [torch_layout(rules_for(name)), *others]
