"""DenseNet, as torchvision lays it out."""

RULES = [
    (r"^stem_", "features.stem_"),
    (r"stem_(conv|norm)", r"\g<1>0"),
    (r"^stage(\d+)_block0*(\d+)", r"features.denseblock\1.denselayer\2"),
    (r"^transition(\d+)_(conv|norm)", r"features.transition\1.\2"),
    (r"^head_norm$", "features.norm5"),
    (r"^head$", "classifier"),
]

# torchvision's own files (densenet121-a639ec97.pth) are older than its names, and it renames them as it loads them.
FILE_RULES = [*RULES, (r"(denselayer\d+/(norm|conv))(\d)$", r"\1.\3")]
