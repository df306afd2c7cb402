"""Options of the images: where they come from, how they are preprocessed and augmented."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DataOptions:
    """Data."""

    dataset: str = "folder"
    """folder, masks, digits, cifar10, cifar100, prepared, fake, or a name in TFDS

    prepared is what experiments.prepare wrote; of TensorFlow Datasets any image classification set, such as
    imagenet2012.
    """
    data_dir: str = ""
    """Folder with train/CLASS/ and val/CLASS/, CIFAR's files or a prepared set; or FILE.csv

    The last has the columns path,label or path,label,split (train, val, test); paths begin at its folder.
    """
    links_out: bool = False
    """Read symbolic links that leave --data_dir"""
    val_fraction: float = 0.0
    """Part for validation, of pictures without splits (ROOT/CLASS/*, path,label). 0: none"""
    folds: int = 0
    """Parts of a cross-validation, of training and validation pictures together. 0: none

    For one's own pictures, a folder or a CSV file; class by class, by a hash of the names. A test split stays out.
    """
    fold: int = 0
    """Part of --folds that is for validation, from 0; the others are for training"""
    sampling: Literal["", "balanced"] = ""
    """Classes of an epoch: as in the data, or balanced, all equally often

    An epoch keeps its length: pictures of large classes come in some epochs, those of small ones several times in each.
    """
    image_size: int = 224
    """Side of the network's input, pixels. 0: the data set's own (digits, CIFAR)"""
    eval_image_size: int = 0
    """Side of the network's input in evaluation, pixels. 0: --image_size

    Larger than image_size it makes up for the larger objects of training crops (FixRes, Touvron et al. 2019).
    """
    eval_resize: int = 0
    """Shorter side before evaluation's center crop. 0: eval_image_size / eval_crop"""
    eval_crop: float = 0.0
    """Evaluation's center crop, a fraction of the shorter side. 0: the weights', or 0.875"""
    eval_views: Literal["center", "flip", "flip_translate"] = "center"
    """Views whose logits evaluation averages

    flip: the image and its mirror image; flip_translate: both, also moved by a pixel.
    """
    interpolation: Literal["", "bilinear", "bicubic"] = ""
    """Antialiased resizing of photographs. Empty: the weights', or bilinear"""
    train_interpolation: Literal["", "bilinear", "bicubic", "random", "fast"] = ""
    """Resizing of training crops

    random is drawn for every image; fast is nearly bilinear and needs OpenCV (extra `fast`). Empty: as interpolation.
    """
    mean: tuple[float, ...] = ()
    """Means of R, G, B in [0, 1]. Empty: the weights' or data set's own, or ImageNet's"""
    std: tuple[float, ...] = ()
    """Standard deviations of R, G, B. Empty: as --mean"""
    num_workers: int = -1
    """Decoding processes. 0: threads; -1: all usable cores but one, 16 at most, or threads"""


@dataclass(frozen=True)
class AugmentationOptions:
    """Augmentation."""

    crop: Literal["random_resized", "scale_jitter"] = "random_resized"
    """Training crop of photographs

    random_resized: a part of the area (Szegedy et al. 2015); scale_jitter: image_size pixels of the image resized to a
    shorter side of 256 to 480, at image_size 224 (He et al. 2015).
    """
    crop_scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest fraction of the area that random_resized draws"""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Smallest and largest width / height that random_resized draws"""
    crop_padding: int = 4
    """Pixels around small images (digits, CIFAR) before the random crop"""
    padding_mode: Literal["zeros", "reflect"] = "zeros"
    """Content of these pixels"""
    flip: Literal["random", "alternating", "none"] = "random"
    """Mirror half of the images

    By chance, or each in every other epoch (Jordan 2024).
    """
    auto_augment: str = ""
    """RandAugment (rand-m7-mstd0.5-inc1, randaugment-n2-m9), ta_wide, augmix or 3a

    RandAugment as timm writes it or as in the paper, TrivialAugment, AugMix, or 3-Augment (gray, solarize or blur).
    """
    color_jitter: float = 0.0
    """Factors of brightness, contrast and saturation: 1 - this to 1 + this"""
    lighting: float = 0.0
    """Standard deviation of AlexNet's color noise (along principal components)"""
    erase: float = 0.0
    """Probability of erasing a random rectangle (Zhong et al. 2020)"""
    erase_fill: Literal["zero", "noise"] = "zero"
    """Fill of the rectangle: the mean color, or normal noise"""
    cutout: int = 0
    """Side of the square erased in every image, pixels (DeVries and Taylor 2017)"""
    mixup: float = 0.0
    """Alpha of mixup's beta distribution (Zhang et al. 2018). 0: off"""
    cutmix: float = 0.0
    """Alpha of CutMix's (Yun et al. 2019). 0: off; with mixup, each half the time"""
    mix_probability: float = 1.0
    """Fraction of the batches that mixup or CutMix mixes"""
    repeats: int = 1
    """Views of an example in a batch (Hoffer et al. 2020)

    Repeated augmentation; an epoch then shows that many times fewer examples.
    """
    progressive: str = ""
    """LOW:HIGH, image side that grows during training (ffcv: 160:192). Empty: constant

    It grows from epoch to epoch; each size is compiled once.
    """
    progressive_ramp: tuple[float, float] = (11 / 16, 13 / 16)
    """Start and end of this growth, as fractions of the training"""
