"""The U-Net on a ResNet, as segmentation_models_pytorch lays it out."""

from resnet_jax.weights.rules import resnet
from resnet_jax.weights.torch_layout import within

RULES = [
    within("backbone", "encoder", resnet.RULES),
    (r"^decoder(\d)/", lambda m: f"decoder.blocks.{int(m[1]) - 1}/"),
    (r"/conv(\d)$", r".conv\1.0"),
    (r"/norm(\d)$", r".conv\1.1"),
    (r"^head$", "segmentation_head.0"),
]
