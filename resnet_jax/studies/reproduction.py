"""Rows of docs/reproduction.md: trainings and evaluations for two CPU cores, with the published errors."""

from pathlib import Path

from resnet_jax.studies.claim import Claim, cifar_claim, imagenet_claim
from resnet_jax.studies.degradation import run_config
from resnet_jax.studies.evaluations import Evaluation
from resnet_jax.studies.published import HE2015

TABLE6 = f"{HE2015}, table 6"
AKAMASTER = "akamaster/pytorch_resnet_cifar10, README"
PRECISE = "the training above, statistics of all training images"

# Of Imagenette's second version.
IMAGENETTE_IMAGES = {
    "class_names": [
        *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
        *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
    ],
    "num_train": 9_469,
    "num_test": 3_925,
}

# Steps of 64 images for as many multiply-adds as 2.0 epochs of ResNet-32 take.
EQUAL_COMPUTE = {"resnet32_cifar": 1563, "densenet40_cifar": 406, "highway19_cifar": 325}

TRAININGS = (
    cifar_claim(
        *("airbench94_cifar", "airbench94", 5.99),
        tolerance=0.1,
        seeds=3,
        source="KellerJordan/cifar10-airbench, README",
    ),
    cifar_claim("resnet20_cifar", "he2015", 8.75, tolerance=0.3, seeds=1, source=TABLE6),
    cifar_claim("plain20_cifar", "he2015", None, tolerance=0.0, seeds=1, source=f"a figure only: {HE2015}, figure 6"),
    imagenet_claim(
        *("resnet18d", "imagenette", 12.57),
        options={"dataset": "folder"},
        data=IMAGENETTE_IMAGES,
        tolerance=0.0,
        seeds=5,
        source="leaderboard of fastai/imagenette, 5 epochs at 128 px; xresnext50, mean of 5 runs",
    ),
    *(
        cifar_claim(
            *("resnet20_cifar", "fast", 8.75),
            options={"epochs": epochs},
            tolerance=0.3,
            seeds=1,
            source=f"{TABLE6}, in 164 epochs",
        )
        for epochs in (10.0, 30.0)
    ),
    *(
        Claim(
            run_config(f"{kind}{depth}_cifar", 0, Path(), "short"),
            command=f"python -m experiments.degradation --kinds={kind} --depths={depth} --budget=short --seeds=3",
            error=None,
            tolerance=0.0,
            seeds=3,
            source="training errors: docs/degradation.md",
        )
        for kind in ("plain", "resnet")
        for depth in (20, 56)
    ),
    *(
        cifar_claim(
            *(model, "fast", None),
            options={"batch_size": 64, "steps": steps},
            tolerance=0.0,
            seeds=3,
            source="equal compute: 6.9e12 multiply-adds of forward passes",
        )
        for model, steps in EQUAL_COMPUTE.items()
    ),
)


def _evaluation(file: str, options: str, error: float | None, source: str) -> Evaluation:
    command = f"python -m experiments.evaluate {options} --json"
    return Evaluation(command, f"evaluations/{file}.json", error, source)


_RESNET20 = "--dataset=cifar10 --model=resnet20_cifar --weights=resnet20-12fca82f.th"
_RESNET32 = "--dataset=cifar10 --model=resnet32_cifar --weights=resnet32-d509ac18.th"
_AIRBENCH = "--workdir=airbench94-seed0"
_SEEDS = "--ensemble airbench94-seed0 airbench94-seed1 airbench94-seed2"
_BOTH = "--dataset=cifar10 --ensemble resnet20_cifar:resnet20-12fca82f.th resnet32_cifar:resnet32-d509ac18.th"

EVALUATIONS = (
    _evaluation("resnet20_center", _RESNET20, 8.27, AKAMASTER),
    _evaluation("resnet20_flip", f"{_RESNET20} --protocol=flip", None, f"weights of {AKAMASTER}"),
    _evaluation("resnet20_flip_translate", f"{_RESNET20} --protocol=flip_translate", None, f"weights of {AKAMASTER}"),
    _evaluation("resnet32_center", _RESNET32, 7.37, AKAMASTER),
    _evaluation("resnet32_flip", f"{_RESNET32} --protocol=flip", None, f"weights of {AKAMASTER}"),
    _evaluation("ensemble_center", _BOTH, None, f"weights of {AKAMASTER}"),
    _evaluation("ensemble_flip", f"{_BOTH} --protocol=flip", None, f"weights of {AKAMASTER}"),
    _evaluation("airbench94_center", f"{_AIRBENCH} --protocol=center", None, "the training above"),
    _evaluation("airbench94_flip", f"{_AIRBENCH} --protocol=flip", None, "the training above"),
    _evaluation("airbench94_precise_center", f"{_AIRBENCH} --protocol=center --precise_bn=50000", None, PRECISE),
    _evaluation("airbench94_precise_own", f"{_AIRBENCH} --precise_bn=50000", None, PRECISE),
    _evaluation("airbench94_ensemble_center", f"{_SEEDS} --protocol=center", None, "the trainings above"),
)
