"""The plain ResNets, as Hugging Face's transformers lays them out."""

RULES = [
    (r"^stem_conv$", "resnet.embedder.embedder.convolution"),
    (r"^stem_norm$", "resnet.embedder.embedder.normalization"),
    (r"^stage(\d+)_block(\d+)", lambda m: f"resnet.encoder.stages.{int(m[1]) - 1}.layers.{int(m[2]) - 1}"),
    (r"/conv(\d)$", lambda m: f".layer.{int(m[1]) - 1}.convolution"),
    (r"/norm(\d)$", lambda m: f".layer.{int(m[1]) - 1}.normalization"),
    (r"/conv_proj$", ".shortcut.convolution"),
    (r"/norm_proj$", ".shortcut.normalization"),
    (r"^head$", "classifier.1"),
]

# ResNetModel, which has no classifier, leaves the first part out.
WITHOUT_HEAD = [*RULES, (r"^resnet\.", "")]
