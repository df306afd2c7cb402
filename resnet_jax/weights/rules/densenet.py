"""DenseNet, as torchvision lays it out."""

RULES = [
    (r"^stem_", "features.stem_"),
    (r"stem_(conv|norm)", r"\g<1>0"),
    (r"^stage(\d+)_block0*(\d+)", r"features.denseblock\1.denselayer\2"),
    (r"^transition(\d+)_(conv|norm)", r"features.transition\1.\2"),
    (r"^head_norm$", "features.norm5"),
    (r"^head$", "classifier"),
]
