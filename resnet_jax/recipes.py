"""Training recipes by name: sets of defaults for `Config`, each with its source and its published result.

`--recipe=NAME` starts from one, and any option on the command line overrides it. Warm-ups and
milestones are fractions of the training, so that `--epochs` scales the whole.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Settings, where they come from, and what they are published to reach."""

    source: str
    result: str
    settings: dict[str, Any]


GOYAL2017 = Recipe(
    source="Goyal et al. 2017, arXiv:1706.02677",
    result="ResNet-50: 76.4 % top-1 at batch 256, 76.3 % at 8192, 90 epochs, normalised in groups of 32 (published)",
    settings={
        "epochs": 90.0,
        "batch_size": 256,
        "learning_rate": 0.1,
        "reference_batch_size": 256,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "decay_norm_and_bias": False,
        "schedule": "step",
        "milestones": (30 / 90, 60 / 90, 80 / 90),
        "warmup": "linear",
        "warmup_fraction": 5 / 90,
        "warmup_learning_rate": 0.1,
        "zero_init": True,
        "crop": "random_resized",
    },
)

# The paper divides the rate when the error stops falling; these milestones are ours. Its colour augmentation and its
# per-pixel mean are left out: the mean and deviation of each channel are used.
HE2015_IMAGENET = Recipe(
    source="He et al. 2015, arXiv:1512.03385, section 3.4",
    result="ResNet-50: 75.3 % top-1, ResNet-101: 76.4 %, ResNet-152: 77.0 %, one centre crop (published)",
    settings={
        "epochs": 120.0,
        "batch_size": 256,
        "learning_rate": 0.1,
        "reference_batch_size": 256,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": (0.25, 0.5, 0.75),
        "crop": "scale_jitter",
    },
)

# The paper subtracts the per-pixel mean; here, as in the reimplementations, each channel is normalised.
HE2015_CIFAR = Recipe(
    source="He et al. 2015, arXiv:1512.03385, section 4.2",
    result="test error of ResNet-20 8.75 %, 32 7.51 %, 44 7.17 %, 56 6.97 %, 110 6.43 %, 1202 7.93 % (published)",
    settings={
        "epochs": 163.84,  # 64,000 steps
        "batch_size": 128,
        "learning_rate": 0.1,
        "reference_batch_size": 128,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": (0.5, 0.75),
        "crop_padding": 4,
    },
)

# "In this case we find that the initial learning rate of 0.1 is slightly too large to start converging": 400 steps.
HE2015_CIFAR_DEEP = Recipe(
    source=f"{HE2015_CIFAR.source}, for 110 layers and more",
    result="test error of ResNet-110 6.43 % (6.61 +- 0.16 over five runs), 1202 7.93 % (published)",
    settings=HE2015_CIFAR.settings
    | {"warmup": "constant", "warmup_fraction": 400 / 64_000, "warmup_learning_rate": 0.01},
)

FAST_CIFAR = Recipe(
    source="ours: one cycle up and down, for machines without an accelerator",
    result="none published",
    settings={
        "epochs": 5.0,
        "batch_size": 128,
        "learning_rate": 0.4,
        "reference_batch_size": 128,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "decay_norm_and_bias": False,
        "schedule": "linear",
        "warmup_fraction": 0.2,
        "crop_padding": 4,
    },
)

IMAGENET = {"goyal2017": GOYAL2017, "he2015": HE2015_IMAGENET}
CIFAR = {"he2015": HE2015_CIFAR, "he2015_deep": HE2015_CIFAR_DEEP, "fast": FAST_CIFAR}
