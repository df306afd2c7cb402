"""torchvision's ResNet, and timm's where its stem is the plain 7x7."""

RULES = [
    (r"^stem_conv$", "conv1"),
    (r"^stem_norm$", "bn1"),
    (r"^stage(\d+)_block(\d+)", lambda m: f"layer{m[1]}.{int(m[2]) - 1}"),
    (r"/norm(\d)$", r".bn\1"),
    (r"/conv_proj$", ".downsample.0"),
    (r"/norm_proj$", ".downsample.1"),
    (r"^head$", "fc"),
]
