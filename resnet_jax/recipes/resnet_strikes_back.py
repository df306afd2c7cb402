"""The three recipes of "ResNet strikes back" (Wightman et al. 2021): one training, at three lengths."""

from resnet_jax.recipes.recipe import Recipe

RSB_A2 = Recipe(
    summary="ResNet strikes back: ResNet-50 at 79.8 % in 300 epochs of 224 px, with LAMB",
    source="Wightman et al. 2021, ResNet strikes back, arXiv:2110.00476, A2; settings read in mmpretrain",
    result="ResNet-50: 79.83 % top-1 at 224 px (published by timm; mmpretrain 79.55)",
    cost="300 epochs at 224 px, each image three times",
    settings={
        "epochs": 300.0,
        "batch_size": 2048,
        "optimizer": "lamb",
        "learning_rate": 5e-3,
        "reference_batch_size": 2048,
        "rate_scaling": "sqrt",
        "clip_norm": 1.0,
        "weight_decay": 0.02,
        "decay_norm_and_bias": False,
        "schedule": "cosine",
        "final_fraction": 1e-6 / 5e-3,
        "warmup_fraction": 5 / 300,
        "warmup_from": 1e-4,
        "image_size": 224,
        "eval_crop": 0.95,
        "interpolation": "bicubic",
        "auto_augment": "rand-m7-mstd0.5-inc1",
        "repeats": 3,
        "loss": "binary_cross_entropy",
        "mixup": 0.1,
        "cutmix": 1.0,
        "stochastic_depth": 0.05,
        "zero_init": True,
    },
    left_out="scaling the rate with the square root of the batch is ours, the sources use one batch size; mixed images "
    "have mixed targets, as in mmpretrain, where timm sets both classes to 1 (--target_threshold=0.2)",
)

RSB_A1 = Recipe(
    summary="ResNet strikes back: ResNet-50 at 80.4 % in 600 epochs of 224 px, with LAMB",
    source=RSB_A2.source.replace("A2", "A1"),
    result="ResNet-50: 80.38 % top-1 at 224 px (published by timm; the paper says 80.4)",
    cost="600 epochs at 224 px, each image three times",
    settings=RSB_A2.settings
    | {"epochs": 600.0, "warmup_fraction": 5 / 600, "weight_decay": 0.01, "mixup": 0.2, "label_smoothing": 0.1},
    left_out=RSB_A2.left_out,
)

RSB_A3 = Recipe(
    summary="ResNet strikes back: ResNet-50 at 78.1 % in 100 epochs of 160 px, with LAMB",
    source=RSB_A2.source.replace("A2", "A3"),
    result="ResNet-50: 78.05 % top-1 at 224 px, 75.99 % at 160 px (published by timm; mmpretrain 78.30)",
    cost="100 epochs at 160 px",
    settings=RSB_A2.settings
    | {
        "epochs": 100.0,
        "learning_rate": 8e-3,
        "final_fraction": 1e-6 / 8e-3,
        "warmup_fraction": 5 / 100,
        "image_size": 160,
        "eval_image_size": 224,
        "auto_augment": "rand-m6-mstd0.5-inc1",
        "repeats": 1,
        "stochastic_depth": 0.0,
    },
    left_out=RSB_A2.left_out,
)
