# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesions and paths
#
# Is a residual network one deep network, or many shallow ones that share their weights? Veit et al. 2016
# (arXiv:1605.06431) cut blocks out of trained networks to find out. We do the same.
#
# **Needs** trained networks: here the two of 20 layers from the degradation study, which differ in their shortcuts
# alone, and ResNet-32 trained to its end by Yerlan Idelbayev (akamaster/pytorch_resnet_cifar10), converted by `python
# -m experiments.convert resnet32-d509ac18.th --model=resnet32_cifar --out=weights/resnet32.safetensors`.

# %%
from pathlib import Path

import numpy as np
from IPython.display import Markdown

import resnet_jax
from resnet_jax.analysis.capture import blocks
from resnet_jax.analysis.lesions import error_by_number_removed, error_by_removed_block
from resnet_jax.analysis.path_lengths import path_lengths, residual_blocks
from resnet_jax.analysis.permutations import error_by_swaps
from resnet_jax.analysis.plots.lesions import draw_permutations, draw_removed_blocks, draw_removed_numbers
from resnet_jax.analysis.plots.path_lengths import draw_path_lengths
from resnet_jax.data.sources.load import load_source
from resnet_jax.files.markdown_table import markdown_table

# %% tags=["parameters"]
networks = {
    "plain-20": {"workdir": "../runs/degradation-short/plain20_cifar-seed0"},
    "ResNet-20": {"workdir": "../runs/degradation-short/resnet20_cifar-seed0"},
    "ResNet-32, fully trained": {"model": "resnet32_cifar", "weights": "../weights/resnet32.safetensors"},
}
most_blocks = "ResNet-32, fully trained"  # whose paths are measured
dataset, data_dir = "cifar10", "../data"  # the folder that holds cifar-10-batches-bin
num_images = 250  # test images that errors are measured on
numbers = (1, 2, 3, 4, 6)  # of blocks that go, and of pairs that change places
samples = 3  # random choices of each
figures = Path("../runs/notebooks")

# %%
figures.mkdir(parents=True, exist_ok=True)
source = load_source(dataset, "val", data_dir, 0)
labels = source.labels[:num_images]
nets = {label: resnet_jax.load_trained(**which) for label, which in networks.items()}
# Each network gets the images normalized as in its training.
first = {"image": source.images[:num_images]}
images = {label: np.asarray(net.preprocessing.normalize(first)["image"]) for label, net in nets.items()}


def measured(function, labels_of_networks=nets, **settings):
    return {
        label: function(nets[label].model, nets[label].variables, images[label], labels, **settings)
        for label in labels_of_networks
    }


# %% [markdown]
# ## 1. One block less
#
# Take one block out of the trained network, and change nothing else: of a residual block $y = \mathrm{relu}(x + F(x))$
# the shortcut stays, $y = \mathrm{relu}(x)$; a plain block is replaced by its input. Plain blocks that change the shape
# cannot be taken out. Dashed lines are the whole networks.

# %%
without_one = measured(error_by_removed_block)
draw_removed_blocks(without_one, figures / "removed_blocks.png")


# %%
def summary(label):
    whole, *rest = without_one[label].values()
    names = list(without_one[label])[1:]
    worst = names[int(np.argmax(rest))]
    cells = (whole, np.median(rest), max(rest))
    return (label, *(f"{100 * error:.1f} %" for error in cells), worst)


columns = ("network", "whole", "one block less: median", "largest", "without which block")
Markdown(markdown_table(columns, map(summary, nets)))

# %% [markdown]
# A plain network is a chain: a layer depends on the features of the layer before it. A residual network
# without one block still has every path that does not go through it, half of all. In the run shown the plain network
# falls nearly to chance (90 %) whichever block goes, and no residual network does on the whole. But the blocks are not
# equal. Two kinds are missed most: the first of a stage, at which the shape changes and the shortcut alone is a poor
# substitute (zero-padded, with every other pixel); and, which the paper's picture of an ensemble does not foretell, the
# very first blocks behind the stem, on which everything else stands.

# %% [markdown]
# ## 2. Several blocks less
#
# Random choices among the blocks that keep their shape. Lines join the medians, each point is one choice. If the
# network behaved like an ensemble of many paths, error would rise step by step with the number of blocks, because each
# block that goes takes paths away and leaves the others as they are.

# %%
kept = [[b for b in blocks(net.model, net.variables, images[name][:1]) if b.keeps_shape] for name, net in nets.items()]
most = min(map(len, kept))
counts = [number for number in numbers if number <= most]
draw_removed_numbers(
    counts, measured(error_by_number_removed, numbers=counts, samples=samples), figures / "removed_numbers.png"
)

# %% [markdown]
# In the run shown the plain network has nothing left to lose after the first block. The residual ones lose more and
# more, on the whole. With three choices of each number the curves are rough: ResNet-32 is near chance (90 %) with four
# blocks gone, and better with six. Single choices differ by as much as a whole curve rises: it matters *which* blocks
# go, as the first figure says.

# %% [markdown]
# ## 3. Blocks in another order
#
# Pairs of blocks of one stage change places. Kendall's tau says how much of the trained order is left: 1 is all of it.

# %%
swaps = (0, *numbers)
draw_permutations(measured(error_by_swaps, swaps=swaps, samples=samples), figures / "permutations.png")

# %% [markdown]
# In the run shown one swap is enough to bring the plain network to chance. Of the residual ones some swaps cost next to
# nothing, and error rises with the distance from the trained order: neighbors in a stage do similar small things to
# the same signal, and it matters less who is first.

# %% [markdown]
# ## 4. Which paths carry the gradient?
#
# Unroll $y_n = y_{n-1} + F_n(y_{n-1})$: every block doubles the number of ways, so that $n$ blocks are $2^n$ paths, and
# $\binom{n}{k}$ of them go through exactly $k$ residual branches. Most paths are of middle length. But do they train
# the network? For each length we draw paths at random and send the gradient back along one path alone: through the
# branch of the blocks on it and through the shortcut of the others. The right panel is the product: number of paths
# times gradient along one. Jumps between neighboring lengths are the noise of few samples.

# %%
label = most_blocks
net = nets[label]
n = len(residual_blocks(net.model, net.variables, images[label][:1]))
found = path_lengths(net.model, net.variables, images[label], labels, samples=8 * samples, batch_size=16)
draw_path_lengths(found, figures / "paths.png", f"{label}: {n} blocks, {2**n:,} paths")

# %%
mean_path = float((found.lengths * found.share).sum())
mean_gradient = float((found.lengths * found.effective).sum())
print(f"mean length of a path: {mean_path:.1f} of {n} blocks")
print(f"mean length of the paths that carry the gradient: {mean_gradient:.1f}")

# %% [markdown]
# ## The answer
#
# Both readings hold in part. *Like many shallow networks:* without one block a residual network still classifies, where
# a plain one of the same depth and training knows nothing any more; error rises with the number of blocks that are gone
# and not at once; and because the gradient along one path falls, about exponentially, with the length of the path, the
# paths that carry it are shorter than the average path. With 15 blocks the difference is small; Veit et al. find paths
# of 5 to 17 branches to count in a network of 54 blocks, where the average path has 27. *Like one deep network:* the
# members of this ensemble are not independent. They share the first blocks and the ones that change the shape, and
# without those hardly a path is worth anything.
#
# Not decided here: whether the briefly trained ResNet-20 suffers more than ResNet-32 because it is shallower or because
# it was trained for less.
