"""Recipes of trainings on pictures with masks, ours."""

from resnet_jax.recipes.recipe import AT_THE_END, Recipe

SCRATCH = Recipe(
    summary="ours: all layers from nothing",
    source="ours",
    result="none published",
    cost="40 epochs",
    settings={
        "epochs": 40.0,
        "batch_size": 8,
        "eval_batch_size": 8,
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "reference_batch_size": 0,
        "weight_decay": 1e-2,
        "decay": "decoupled",
        "decay_norm_and_bias": False,
        "schedule": "cosine",
        "warmup_fraction": 0.05,
        "class_weights": "log_frequency",
        "loss": "entropy_and_dice",
        "image_size": 256,
        "scale": (0.75, 1.5),
        "color_jitter": 0.2,
        "log_every": 20,
    },
)

FROZEN = Recipe(
    summary="ours: the decoder alone learns, on features computed once of each picture and its mirror image",
    source="ours",
    result="none published",
    cost="30 epochs of the decoder, and two passes of the encoder",
    settings=SCRATCH.settings
    | {
        "epochs": 30.0,
        "freeze": "backbone",
        "cache_features": 2,
        "image_size": 0,
        "scale": (1.0, 1.0),
        "color_jitter": 0.0,
        "flip": "alternating",
        "class_weights": "",
        "skips": "add",
        "eval_every": AT_THE_END,
    },
)

FINETUNE = Recipe(
    summary="ours: all layers learn, the decoder ten times as fast; the encoder's statistics stay",
    source="ours",
    result="none published",
    cost="20 epochs",
    settings=SCRATCH.settings
    | {"epochs": 20.0, "learning_rate": 1e-4, "head_rate": 10.0, "freeze_statistics": True, "skips": "add"}
    | {"class_weights": ""},
)

SEGMENTATION = {"scratch": SCRATCH, "frozen": FROZEN, "finetune": FINETUNE}
