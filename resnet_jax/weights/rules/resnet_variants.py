"""timm's variants of ResNet, in terms of the plain one's rules."""

from resnet_jax.weights.rules import resnet

# Attention stands at the end of a block, under one name for all its kinds.
ATTENTION = [(r"/attention/(\w+)$", r".se.\1"), (r"/attention$", ".se.conv"), *resnet.RULES]

# Three convolutions in the stem, and an average pooling before the shortcut's, which is number 0.
DEEP = [
    (r"^stem_conv1$", "conv1.0"),
    (r"^stem_norm1$", "conv1.1"),
    (r"^stem_conv2$", "conv1.3"),
    (r"^stem_norm2$", "conv1.4"),
    (r"^stem_conv3$", "conv1.6"),
    (r"^stem_pool_conv$", "maxpool.0"),
    (r"^stem_pool_norm$", "maxpool.1"),
    (r"/conv_proj$", ".downsample.1"),
    (r"/norm_proj$", ".downsample.2"),
    *ATTENTION,
]

SELECTIVE = [
    (r"/conv2/path1_(conv|norm)$", r".conv2.paths.0.\1"),
    (r"/conv2/path2_(conv|norm)$", r".conv2.paths.1.\1"),
    (r"/conv2/reduce_conv$", ".conv2.attn.fc_reduce"),
    (r"/conv2/reduce_norm$", ".conv2.attn.bn"),
    (r"/conv2/select_conv$", ".conv2.attn.fc_select"),
    (r"\.norm$", ".bn"),
    (r"/conv([13])$", r".conv\1.conv"),
    (r"/norm([13])$", r".conv\1.bn"),
    *resnet.RULES,
]

PREACTIVATION = [
    (r"^stem_conv$", "stem.conv"),
    (r"^stage(\d+)_block(\d+)", lambda m: f"stages.{int(m[1]) - 1}.blocks.{int(m[2]) - 1}"),
    (r"/conv_proj$", ".downsample.conv"),
    (r"^head_norm$", "norm"),
    (r"^head$", "head.fc"),
]
