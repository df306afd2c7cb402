"""BiT (Kolesnikov et al. 2020, arXiv:1912.11370), as Google's .npz files lay it out: kernels as ours."""

import re

from resnet_jax.weights.layout import Layout, LeafPath, unchanged

CONV = "standardized_conv2d"
LEAVES = {"scale": "gamma", "bias": "beta"}


def name(path: LeafPath) -> str:
    """Return BiT's name of a leaf of our variables."""
    _, *modules, leaf = path
    module = "/".join(modules)
    if module == "head":
        return f"resnet/head/conv2d/{leaf}"
    if module == "stem_conv":
        return f"resnet/root_block/{CONV}/{leaf}"
    if module == "head_norm":
        return f"resnet/group_norm/{LEAVES[leaf]}"
    match = re.fullmatch(r"stage(\d+)_block(\d+)/(conv|norm)(\d|_proj)", module)
    if match is None:
        return module
    stage, block, kind, index = match.groups()
    part = "a/proj" if index == "_proj" else "abc"[int(index) - 1]
    inside = f"{CONV}/{leaf}" if kind == "conv" else f"group_norm/{LEAVES[leaf]}"
    return f"resnet/block{stage}/unit{block}/{part}/{inside}"


LAYOUT = Layout(name=name, to_file=unchanged, to_ours=unchanged)
