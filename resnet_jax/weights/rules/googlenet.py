"""GoogLeNet, as torchvision lays it out."""

RULES = [
    (r"^stem/", "conv1/"),
    (r"^stage1_conv(\d)", lambda m: f"conv{int(m[1]) + 1}"),
    (r"^stage(\d)_block0(\d)", lambda m: f"inception{int(m[1]) + 1}{'abcde'[int(m[2]) - 1]}"),
    (r"branch(\d)_conv(\d)", lambda m: f"branch{m[1]}.{int(m[2]) - 1}"),
    (r"branch4", "branch4.1"),  # branch4.0 is the pooling
    (r"^(aux\d)/conv1", r"\1.conv"),
    (r"^(aux\d)/dense", r"\1.fc"),
    (r"/norm$", ".bn"),
    (r"^head$", "fc"),
]
