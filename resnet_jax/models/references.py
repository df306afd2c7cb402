"""The original that each network equals, and the test that proves it."""

import re
from typing import NamedTuple


class Reference(NamedTuple):
    """A network's original.

    Attributes:
        original: a package or a paper.
        proof: the test, in tests/.
    """

    original: str
    proof: str


# Pattern of the whole name -> reference; the first match counts.
REFERENCES: dict[str, Reference] = {
    r"resnet(18|34|50|101|152)": Reference("torchvision 0.28", "parity/test_resnet.py"),
    r"resnet\d+_v1": Reference(
        "He et al. 2015; Keras's ResNet50", "models/resnet/test_resnet.py, weights/test_keras.py"
    ),
    r"resnext.*|wide_resnet.*": Reference("torchvision 0.28", "parity/test_resnet_variants.py"),
    r"resnet\d+[dt]|(se|eca|sk)resnet.*|resnetblur.*|resnetrs.*|resnetv2_.*": Reference(
        "timm 1.0", "parity/test_resnet_variants.py"
    ),
    r"resnet\d+_cifar": Reference("He et al. 2015; published weights of 20 and 32", "weights/test_real_weights.py"),
    r"plain\d+(_cifar)?": Reference(
        "He et al. 2015: the network without its shortcuts", "models/resnet/test_shortcuts.py"
    ),
    r"resnet110_\w+_cifar": Reference("He et al. 2016, tables 1 and 2", "models/resnet/test_preact.py"),
    r"preresnet\d+_cifar": Reference("He et al. 2016", "models/resnet/test_preact.py"),
    r"wrn\d+_\d+_cifar": Reference("Zagoruyko and Komodakis 2016", "models/resnet/test_preact.py"),
    r"densenet\d+": Reference("torchvision 0.28", "parity/test_densenet.py"),
    r"densenet\w+_cifar": Reference("Huang et al. 2017", "models/test_numpy_references.py"),
    r"highway\d+_cifar": Reference("Srivastava et al. 2015", "models/test_numpy_references.py"),
    r"airbench\d+_cifar": Reference("torch, the network of Jordan 2024 written out", "parity/test_airbench.py"),
    r"alexnet": Reference("torchvision 0.28", "parity/test_alexnet.py"),
    r"vgg\d+(_bn)?": Reference("torchvision 0.28", "parity/test_vgg.py"),
    r"googlenet": Reference("torchvision 0.28", "parity/test_googlenet.py"),
    r"fcn_resnet\d+": Reference("torchvision 0.28", "parity/test_fcn.py"),
    r"unet": Reference("Ronneberger et al. 2015", "models/test_numpy_references.py"),
    r"unet_resnet\d+": Reference("torch, its decoder written out", "parity/test_unet.py"),
}


def reference(name: str) -> Reference:
    """Return the reference of a network.

    Raises:
        KeyError: it has none.
    """
    for pattern, entry in REFERENCES.items():
        if re.fullmatch(pattern, name):
            return entry
    raise KeyError(name)
