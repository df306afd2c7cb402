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
# # Why skip connections?
#
# A deeper network can do whatever a shallower one does: copy its layers, and let the rest be the identity. So more
# layers should never make the *training* error worse. Without skip connections they do. What goes wrong, and what does
# `y = x + F(x)` change?
#
# **Needs** the folder of a study, `python -m experiments.degradation --depths=20,56 --budget=short --data_dir=DIR`, run
# as far as it has come. The parts about untrained networks need the images alone.

# %%
from pathlib import Path

import jax
from IPython.display import Markdown

import resnet_jax
from resnet_jax.analysis.gradients import gradient_norms
from resnet_jax.analysis.landscape import loss_line
from resnet_jax.analysis.plots.gradients import draw_gradient_norms
from resnet_jax.analysis.plots.landscape import draw_loss_lines
from resnet_jax.config.options import Config
from resnet_jax.data.build import build_preprocessing
from resnet_jax.data.plain_images import plain_images
from resnet_jax.data.sources.load import load_source
from resnet_jax.files.markdown_table import markdown_table
from resnet_jax.models.highway import Highway
from resnet_jax.studies.degradation_report import draw_study, read_study, study_table

# %% tags=["parameters"]
# The study's WORKDIR, 1.8 core hours a seed. Its files without checkpoints, for the table and the figure of section 1
# alone, are in ../docs/measurements/reproduction/degradation-short.
study = "../runs/degradation-short"
dataset, data_dir = "cifar10", "../data"  # DIR: the folder that holds cifar-10-batches-bin
depths = (20, 56)  # of the untrained networks; compiling takes a minute at 56, several at 110
num_images = 32  # that a gradient is averaged over
num_loss_images, num_points = 200, 11  # of the loss around trained networks
figures = Path("../runs/notebooks")  # where the figures are written besides

# %% [markdown]
# ## 1. Degradation
#
# Plain and residual networks from one definition, trained with one recipe; the shortcuts are all that differs. Dashed
# is the training error, on the augmented batches while training; bold is the test error. A cross ends a run that is not
# finished.

# %%
figures.mkdir(parents=True, exist_ok=True)
runs = read_study(Path(study))
draw_study(runs, figures / "degradation.png")

# %%
Markdown(study_table(runs))

# %% [markdown]
# How to read it. If the deeper plain network has the higher **training** error, it does not overfit: it fits worse. And
# no lack of capacity can be to blame, because the shallow network is one of the functions that the deep one can
# compute. So the optimizer does not *find* what is there. He et al. 2015 call this degradation. In the paper (64,000
# steps of 128 images) the test error of plain networks rises from about 9 % with 20 layers to 13 or 14 % with 56, and
# that of residual ones falls from 8.75 % to 6.97 %.
#
# A study with the short budget trains for about three epochs and not for 164. It can show the order of the training
# errors; its values cannot be compared with the paper's. The training error is the final network's, over all training
# images; "while training" is a mean over the last epoch, here a third of the training, in which the errors still fall.
# A single seed is an observation, not a measurement.

# %% [markdown]
# ## 2. What a skip connection makes easy: doing nothing
#
# A block computes $y = \mathrm{relu}(x + F(x))$. Set the scale of its last normalization to zero, and $F(x) = 0$. Since
# $x \ge 0$ behind the previous ReLU, the block is then *exactly* the identity. A plain block, $y =
# \mathrm{relu}(F(x))$, would have to find the identity among its 3x3 kernels, through two normalizations and a ReLU.

# %%
source = load_source(dataset, "val", data_dir, 0)
preprocessing = build_preprocessing(Config(dataset=dataset), source.images.shape[1])
images = plain_images(source, preprocessing, seed=0, count=max(num_images, num_loss_images))
labels = source.labels[: len(images)]

deep = resnet_jax.create_model(f"resnet{depths[-1]}_cifar", zero_init=True)
outputs, _ = deep.init_with_output(jax.random.key(0), images[:4], features=True)
difference = float(abs(outputs["stage1"] - outputs["stem"]).max())
print(f"{depths[-1]} layers: the first stage changes its input by at most {difference}")

# %% [markdown]
# Depth costs a residual network nothing to begin with: it starts as a shallow one and uses a further block where that
# helps. This is why `zero_init` is an option of every ResNet here (Goyal et al. 2017).

# %% [markdown]
# ## 3. Is it the vanishing gradient?
#
# The usual answer is: skip connections cure vanishing gradients. Through a block, the gradient goes back as
#
# $$\frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}\left(1 + F'(x)\right),$$
#
# and over $n$ blocks the product of the brackets contains the term $1$: one path that carries the gradient unchanged,
# whatever the $F'$ are. (The ReLU behind the addition interrupts it where it is closed.) In a plain network nothing but
# the product $F_n' \cdots F_1'$ is left, and a product of many factors vanishes or explodes.
#
# But the paper's plain networks have batch normalization, which brings every layer's output back to variance 1, so that
# the signal forwards cannot die. He et al. conclude that vanishing gradients are *unlikely* to be the cause. Let us
# measure it, in networks that have not been trained: the norm of the gradient of every convolution's kernel. The
# highway networks ($y = T(x) H(x) + (1 - T(x))\, x$, with gates $T$ that start nearly closed) have no normalization.


# %%
def untrained(kind, depth):
    if kind != "highway":
        return resnet_jax.create_model(f"{kind}{depth}_cifar")
    blocks = (depth - 5) // 3
    return Highway((blocks,) * 3, (16, 32, 64))


def initial_gradients(model):
    variables = model.init(jax.random.key(0), images[:1])  # layer by layer: quicker than to compile all of it once
    return gradient_norms(model, variables, images[:num_images], labels[:num_images])


norms = {
    f"{kind}-{depth}": initial_gradients(untrained(kind, depth))
    for depth in depths
    for kind in ("plain", "resnet", "highway")
}
draw_gradient_norms(norms, figures / "gradients.png")


# %%
def row(label):
    first, *_, last = norms[label].values()
    return (label, f"{first:.3g}", f"{last:.3g}", f"{first / last:,.1f}")


Markdown(markdown_table(("network", "first layer", "last layer", "first / last"), map(row, norms)))

# %% [markdown]
# Read each curve from right to left, as the gradient travels: from the loss to the image.
#
# - **Plain networks: the gradient does not vanish, it explodes.** Batch normalization keeps the signal alive forwards
#   and amplifies the gradient backwards, by some factor in every layer, hence the straight line on the logarithmic axis
#   (Yang et al. 2019, arXiv:1902.08129). With 20 layers that is harmless. With 56 no rate suits first and last layer at
#   once.
# - **Residual networks: it grows far less,** as the last column says. A block adds its $F$ to a signal that grows along
#   the way, so that later blocks of a stage change it by a smaller and smaller share, and the gradient with it.
# - **Highway networks: weaker, and falling slowly,** without any normalization: gates that start nearly closed make the
#   identity the default. The peaks are the convolutions between the stages, which have no gate.
#
# All this is before the first step; what training makes of it is not in the figure. That explosion at the start is
# *the* cause of degradation is not shown by it either: it is one way in which the deep plain network starts worse.

# %% [markdown]
# ## 4. The ground around the trained networks
#
# Walk from the trained weights along a random direction whose filters are as long as the network's own (Li et al. 2018)
# and look at the loss. Steep and early walls mean that a step must be small; a wide bowl forgives. Every network of the
# study is drawn that has a checkpoint, its seeds in one color; the weights are those of the newest one.

# %%
lines = {}
for run in runs:
    folder = Path(study) / Path(run.config.workdir).name
    if any((folder / "checkpoints").glob("[0-9]*")):
        _, model, variables = resnet_jax.restore_run(folder)
        lines[folder.name] = loss_line(
            model, variables, images[:num_loss_images], labels[:num_loss_images], num_points=num_points
        )
draw_loss_lines(lines, figures / "loss_lines.png")


# %%
def width(found):
    """How far one can go to both sides until the loss has doubled."""
    inside = found.steps[found.loss < 2 * found.loss[len(found.loss) // 2]]
    return f"{inside.min():+.2f} to {inside.max():+.2f}"


cells = [(label, f"{found.loss[len(found.loss) // 2]:.3f}", width(found)) for label, found in lines.items()]
Markdown(markdown_table(("network", "loss at the center", "less than twice that"), cells))

# %% [markdown]
# In the run shown this does not explain the degradation. plain-56 has by far the widest range, because it has learned
# little: its loss at the center is 1.6 to 1.8, and guessing has 2.3. The three networks that learned do not differ
# visibly. One direction and few images show whether walls differ by much, and cannot rank networks that look alike; and
# these were trained for three epochs. Li et al. find little difference at 20 layers and a large one at 56, in networks
# that were trained to their end.

# %% [markdown]
# ## The answer
#
# In the paper deep plain networks fit their *training* images worse than shallow ones (the table of section 1 says what
# the study at hand has found so far), so neither overfitting nor capacity is the reason: the solution exists and is not
# found. With batch normalization the gradient does not vanish; at the start it even explodes on its way to the image. A
# skip connection makes the identity the default: depth then starts out harmless ($F = 0$ is one setting away), the
# gradient has a path on which nothing is multiplied, and its size stays comparable over the layers. That is a better
# starting point for the optimizer, not a larger set of functions.
