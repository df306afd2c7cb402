"""Recipes for ImageNet and other photographs, with the numbers of their sources."""

from resnet_jax.recipes.recipe import Recipe
from resnet_jax.recipes.resnet_strikes_back import RSB_A1, RSB_A2, RSB_A3

IMAGES = 1_281_167  # training images of ImageNet: turns the steps of a source into fractions of the training

HE2015 = Recipe(
    summary="He et al. 2015: the paper's training; ResNet-50 at 75.3 %",
    source="He et al. 2015, arXiv:1512.03385, section 3.4",
    result="ResNet-50: 75.3 % top-1, ResNet-101: 76.4 %, ResNet-152: 77.0 %, one center crop (published)",
    cost="up to 600,000 steps of 256 (published); 120 epochs here",
    settings={
        "epochs": 120.0,
        "batch_size": 256,
        "learning_rate": 0.1,
        "reference_batch_size": 256,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "schedule": "plateau",
        "crop": "scale_jitter",
        "lighting": 0.1,
    },
    left_out="the paper does not say when the error has stopped falling, and the rate is divided by 10: here when the "
    "mean training loss of five epochs in a row is not below the lowest; images are normalized by each "
    "channel's mean and deviation instead of the per-pixel mean; batch statistics are moving averages, not recomputed "
    "after training",
)

GOYAL2017 = Recipe(
    summary="Goyal et al. 2017: ResNet-50 at 76.4 % in 90 epochs, with batches of 256 to 8192",
    source="Goyal et al. 2017, arXiv:1706.02677; augmentation of fb.resnet.torch",
    result="ResNet-50: 76.4 % top-1 at batch 256, 76.3 % at 8192 (published)",
    cost="90 epochs at 224 px",
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
        "color_jitter": 0.4,
        "lighting": 0.1,
    },
    left_out="batch normalization over the whole batch; --bn_group_size=32 is the paper's",
)

TORCHVISION_V2 = Recipe(
    summary="torchvision's second weights: ResNet-50 at 80.9 % in 600 epochs of 176 px",
    source="torchvision's second weights: pytorch/vision issue 3995 and pull request 5201",
    result="ResNet-50: 80.858 % top-1, 95.434 % top-5, with the average of the weights (published)",
    cost="600 epochs at 176 px, each image four times",
    settings={
        "epochs": 600.0,
        "batch_size": 1024,
        "learning_rate": 0.5,
        "reference_batch_size": 1024,
        "momentum": 0.9,
        "weight_decay": 2e-5,
        "decay_norm_and_bias": False,
        "schedule": "cosine",
        "warmup_fraction": 5 / 600,
        "warmup_from": 0.01,
        "image_size": 176,
        "eval_image_size": 224,
        "eval_crop": 224 / 232,
        "auto_augment": "ta_wide",
        "erase": 0.1,
        "repeats": 4,
        "label_smoothing": 0.1,
        "mixup": 0.2,
        "cutmix": 1.0,
        # Its decay of 0.99998 is scaled by batch, interval and epochs: this fraction of a training of any length.
        "ema_fraction": 1 / ((1 - 0.99998) * IMAGES),
        "ema_every": 32,
        "ema_rise": "copy",
    },
)

FFCV16 = Recipe(
    summary="ffcv: ResNet-50 at 73.8 % in 16 epochs of 160 to 192 px",
    source="libffcv/ffcv-imagenet, rn50_configs/rn50_16_epochs.yaml",
    result="ResNet-50: 73.8 % top-1, 90.8 % top-5, with the mirror image (published)",
    cost="16 epochs at 160 to 192 px; 14.9 minutes on eight A100 (published)",
    settings={
        "epochs": 16.0,
        "batch_size": 4096,
        "learning_rate": 1.7,
        "reference_batch_size": 4096,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "decay_norm_and_bias": False,
        "schedule": "linear",
        "warmup_fraction": 2 / 16,
        "warmup_from": 1e-4,
        "image_size": 192,
        "progressive": "160:192",
        "progressive_ramp": (11 / 16, 13 / 16),
        "eval_image_size": 256,
        "eval_crop": 224 / 256,
        "eval_views": "flip",
        "label_smoothing": 0.1,
        "blur_strides": True,
    },
    left_out="antialiased resizing",
)

FFCV88 = Recipe(
    summary="ffcv: ResNet-50 at 78.4 % in 88 epochs of 160 to 192 px",
    source=FFCV16.source.replace("16", "88"),
    result="ResNet-50: 78.4 % top-1, 94.1 % top-5, with the mirror image (published)",
    cost="88 epochs at 160 to 192 px; 77.2 minutes on eight A100 (published)",
    settings=FFCV16.settings | {"epochs": 88.0, "warmup_fraction": 2 / 88, "progressive_ramp": (65 / 88, 76 / 88)},
    left_out=FFCV16.left_out,
)

BIT_I1K = Recipe(
    summary="big_vision: a pre-activation ResNet-50 (BiT) on ImageNet, 90 epochs",
    source="google-research/big_vision, configs/bit_i1k.py; Kolesnikov et al. 2020, arXiv:1912.11370",
    result="none published",
    cost="90 epochs at 224 px; about 32 minutes on 128 TPU v3 cores (published)",
    settings={
        "model": "resnetv2_50x1_bit",
        "epochs": 90.0,
        "batch_size": 4096,
        "learning_rate": 0.1,
        "reference_batch_size": 256,
        "momentum": 0.9,
        # The file's decay, 1e-4 x batch / 256 a step at the peak, is not multiplied by the rate, 0.1 x batch / 256;
        # the decoupled decay here is.
        "weight_decay": 1e-3,
        "decay": "decoupled",
        "decay_norm_and_bias": False,
        "clip_norm": 1.0,
        "schedule": "cosine",
        "warmup_fraction": 1000 * 4096 / IMAGES / 90,
        "crop_scale": (0.05, 1.0),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    },
    left_out="momentum in float32; antialiased resizing; all training images, where the file holds out one percent",
)

MLPERF_LARS = Recipe(
    summary="MLPerf: ResNet-50 at 75.9 % in 42 epochs, with LARS and batches of 4096",
    source="MLPerf training's reference with LARS, mlcommons/training, resnet-tf2",
    result="ResNet-50: 75.9 % top-1 (published)",
    cost="42 epochs at 224 px; 39 to 42 were enough (published)",
    settings={
        "epochs": 42.0,
        "batch_size": 4096,
        "optimizer": "lars",
        "learning_rate": 10.0,
        "reference_batch_size": 4096,
        "momentum": 0.9,
        "weight_decay": 2e-4,
        "decay_norm_and_bias": False,
        "schedule": "polynomial",
        "final_fraction": 1e-4 / 10,
        "warmup_fraction": 5 / 42,
        "rate_scaling": "sqrt",
        "crop_scale": (0.05, 1.0),
        "label_smoothing": 0.1,
        "mean": (123.68 / 255, 116.78 / 255, 103.94 / 255),
        "std": (1 / 255, 1 / 255, 1 / 255),
    },
    left_out="scaling the rate with the square root of the batch is ours, MLPerf tunes it for each batch; crops need "
    "not overlap the object's bounding box",
)

IMAGENETTE = Recipe(
    summary="ours: Imagenette in 5 epochs of 128 px, with Muon, for machines without an accelerator",
    source="ours, by the rules of the leaderboard of fastai/imagenette: 128 px, 5 epochs, no other images",
    result="of this recipe none is published; the leaderboard's best: 87.43 %, xresnext50, mean of 5 runs (published)",
    cost="5 epochs of 9,469 images at 128 px",
    settings={
        "model": "resnet18d",
        "epochs": 5.0,
        "batch_size": 64,
        "optimizer": "muon",
        "learning_rate": 0.07,
        "reference_batch_size": 64,
        "rate_scaling": "sqrt",
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "decay_norm_and_bias": False,
        "schedule": "linear",
        "warmup_fraction": 0.2,
        "zero_init": True,
        "image_size": 128,
        "crop_scale": (0.35, 1.0),
        "label_smoothing": 0.1,
    },
)

IMAGENET = {
    "goyal2017": GOYAL2017,
    "he2015": HE2015,
    "torchvision_v2": TORCHVISION_V2,
    "rsb_a1": RSB_A1,
    "rsb_a2": RSB_A2,
    "rsb_a3": RSB_A3,
    "ffcv16": FFCV16,
    "ffcv88": FFCV88,
    "bit_i1k": BIT_I1K,
    "mlperf_lars": MLPERF_LARS,
    "imagenette": IMAGENETTE,
}
