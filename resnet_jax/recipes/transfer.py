"""Recipes for one's own pictures, from trained weights."""

from resnet_jax.recipes.recipe import AT_THE_END, Recipe

SMALL_SET = {
    "batch_size": 16,
    "reference_batch_size": 16,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "warmup_fraction": 0.1,
    "crop_scale": (0.25, 1.0),
    "log_every": 10,
}

FINETUNE = Recipe(
    summary="ours: all layers learn, the head ten times as fast; statistics stay",
    source="ours; rate and frozen statistics chosen by a trial on 243 pictures of ants and bees",
    result="none published",
    cost="4 epochs",
    settings=SMALL_SET | {"epochs": 4.0, "learning_rate": 3e-4, "head_rate": 10.0, "freeze_statistics": True},
)

GRADUAL = Recipe(
    summary="ours: first the head alone, then all layers, the head ten times as fast; statistics stay",
    source="ours, after ULMFiT (Howard and Ruder 2018, arXiv:1801.06146) and fastai's fine_tune",
    result="none published",
    cost="6 epochs",
    settings=FINETUNE.settings | {"epochs": 6.0, "freeze": "stem..stage4", "unfreeze_at": 2.0},
)

HEAD = Recipe(
    summary="ours: the head alone learns, from features that are computed once (a linear probe)",
    source="ours; the weight decay is that of the logistic regressions that did best on two small sets",
    result="none published",
    cost="four forward passes of every image, and 30 epochs of the head",
    settings=SMALL_SET
    | {"epochs": 30.0, "learning_rate": 0.003, "weight_decay": 1.0, "eval_every": AT_THE_END}
    | {"freeze": "stem..stage4", "cache_features": 4},
)

SCRATCH = Recipe(
    summary="ours: a new network, to compare with",
    source="ours",
    result="none published",
    cost="30 epochs",
    settings=SMALL_SET | {"epochs": 30.0, "learning_rate": 0.02, "nesterov": True, "weight_decay": 5e-4},
)

TRANSFER = {"finetune": FINETUNE, "head": HEAD, "gradual": GRADUAL, "scratch": SCRATCH}
