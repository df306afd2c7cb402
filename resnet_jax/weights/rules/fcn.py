"""FCN on a ResNet, as torchvision lays it out."""

from resnet_jax.weights.rules import resnet
from resnet_jax.weights.torch_layout import within

RULES = [
    within("backbone", "backbone", resnet.RULES),
    (r"^head/", "classifier/"),
    (r"^aux1/", "aux_classifier/"),
    (r"classifier/conv1$", "classifier/0"),
    (r"classifier/norm1$", "classifier/1"),
    (r"classifier/conv2$", "classifier/4"),
]
