"""AlexNet, as torchvision lays it out."""

RULES = [
    (r"^stem_conv$", "features.0"),
    (r"^stage1_conv1$", "features.3"),
    (r"^stage2_conv(\d)$", lambda m: f"features.{4 + 2 * int(m[1])}"),
    (r"^head/dense(\d)$", lambda m: f"classifier.{3 * int(m[1]) - 2 if int(m[1]) < 3 else 6}"),
]
