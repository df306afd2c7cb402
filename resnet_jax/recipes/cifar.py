"""Recipes for CIFAR-10, CIFAR-100 and other sets of small images."""

from resnet_jax.recipes.recipe import Recipe

HE2015 = Recipe(
    summary="He et al. 2015: ResNet-20 at 8.75 % test error, 64,000 steps of 128",
    source="He et al. 2015, arXiv:1512.03385, section 4.2",
    result="test error of ResNet-20 8.75 %, 32 7.51 %, 44 7.17 %, 56 6.97 %, 110 6.43 %, 1202 7.93 % (published)",
    cost="64,000 steps of 128",
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
    left_out="images are normalized by each channel's mean and deviation instead of the per-pixel mean",
)

# "In this case we find that the initial learning rate of 0.1 is slightly too large to start converging": 400 steps.
HE2015_DEEP = Recipe(
    summary="He et al. 2015, for 110 layers and more: the same after 400 steps of warm-up",
    source=f"{HE2015.source}, for 110 layers and more",
    result="test error of ResNet-110 6.43 % (6.61 ± 0.16 over five runs), 1202 7.93 % (published)",
    cost=HE2015.cost,
    settings=HE2015.settings | {"warmup": "constant", "warmup_fraction": 400 / 64_000, "warmup_learning_rate": 0.01},
    left_out=HE2015.left_out,
)

DENSENET = Recipe(
    summary="Huang et al. 2017: DenseNet-BC-100 at 4.51 % test error in 300 epochs",
    source="Huang et al. 2017, arXiv:1608.06993; liuzhuang13/DenseNet",
    result="test error of DenseNet-40 (k = 12) 5.24 %, DenseNet-BC-100 (k = 12) 4.51 %, with these crops (published)",
    cost="300 epochs, 234,375 steps of 64",
    settings={
        "model": "densenet100bc_cifar",
        "epochs": 300.0,
        "batch_size": 64,
        "learning_rate": 0.1,
        "reference_batch_size": 64,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 1e-4,
        "schedule": "step",
        "milestones": (0.5, 0.75),
        "crop_padding": 4,
    },
)

WRN = Recipe(
    summary="Zagoruyko and Komodakis 2016: WRN-28-10 at 4.00 % test error in 200 epochs",
    source="Zagoruyko and Komodakis 2016, arXiv:1605.07146, section 3",
    result="test error of WRN-28-10 4.00 % (published)",
    cost="200 epochs, 78,125 steps of 128",
    settings={
        "model": "wrn28_10_cifar",
        "epochs": 200.0,
        "batch_size": 128,
        "learning_rate": 0.1,
        "reference_batch_size": 128,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "schedule": "step",
        "milestones": (60 / 200, 120 / 200, 160 / 200),
        "milestone_factor": 0.2,
        "crop_padding": 4,
        "padding_mode": "reflect",
    },
    left_out="the images are normalized, not whitened",
)

# The source gives rate and decay for 1,024 examples and for the step that constant gradients make with momentum.
AIRBENCH_STEP = 1 + 1 / (1 - 0.85)

AIRBENCH94 = Recipe(
    summary="airbench: CIFAR-10 to 94 % in 9.9 epochs",
    source="Jordan 2024, arXiv:2404.00498; KellerJordan/cifar10-airbench, legacy/airbench94.py",
    result="94.01 % mean test accuracy (published)",
    cost="9.9 epochs, 0.36 PFLOP; 3.83 s on an A100 (published)",
    settings={
        "model": "airbench94_cifar",
        "epochs": 9.9,
        "batch_size": 1024,
        "learning_rate": 11.5 / AIRBENCH_STEP,
        "reference_batch_size": 1024,
        "momentum": 0.85,
        "nesterov": True,
        "weight_decay": 0.0153 / 11.5,
        "norm_bias_rate": 64.0,
        "stem_fraction": 3 / 9.9,
        "schedule": "linear",
        "warmup_fraction": 0.23,
        "warmup_from": 0.2,
        "final_fraction": 0.07,
        "label_smoothing": 0.2,
        "flip": "alternating",
        "crop_padding": 2,
        "padding_mode": "reflect",
        "ema": 0.95**5,
        "ema_every": 5,
        "ema_rise": "cubic",
        "lookahead": True,
        "eval_views": "flip_translate",
    },
    left_out="batches continue across epochs, where airbench drops the last incomplete one",
)

FAST = Recipe(
    summary="ours: one cycle in 5 epochs, for machines without an accelerator",
    source="ours: one cycle up and down, for machines without an accelerator",
    result="none published",
    cost="5 epochs",
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

CIFAR = {
    "he2015": HE2015,
    "he2015_deep": HE2015_DEEP,
    "densenet": DENSENET,
    "wrn": WRN,
    "airbench94": AIRBENCH94,
    "fast": FAST,
}
