"""Random changes of color of one image on the host: uint8 [H,W,3] in and out."""

import numpy as np
from PIL import Image

from resnet_jax.data.augment.image_ops import Step, apply_steps
from resnet_jax.data.augment.tones import apply_tones
from resnet_jax.errors import InputError

# Principal components of the RGB values, 0 to 1, of ImageNet's training images: columns, and the scale of each.
# Numbers of fb.resnet.torch.
PCA_VALUES = np.array([0.2175, 0.0188, 0.0045])
PCA_VECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


def color_jitter(
    image: np.ndarray,
    rng: np.random.Generator,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
    hue: float = 0.0,
    lighting: float = 0.0,
) -> np.ndarray:
    """Change brightness, contrast, saturation and hue at random, in random order, as torchvision's ColorJitter does.

    Then, with `lighting`, one random color is added to all pixels, along the principal components of ImageNet
    (Krizhevsky et al. 2012).

    Args:
        image: uint8 [H,W,3].
        rng: source of randomness.
        brightness: b draws the factor from max(0, 1 - b) to 1 + b; 0 leaves it alone.
        contrast: likewise.
        saturation: likewise.
        hue: h draws the turn from -h to h of the color circle; at most 0.5.
        lighting: standard deviation of three normal draws, in units of PCA_VALUES; 0 adds nothing. The sum is rounded
            and clipped to 0 to 255; the original stays in floating point.

    Returns:
        uint8 [H,W,3].

    Raises:
        InputError: a strength is negative, or the hue's above 0.5.
    """
    steps = jitter_steps(rng, brightness, contrast, saturation, hue)
    tables = lighting_tables(rng, lighting) if lighting else None
    return np.asarray(apply_tones(Image.fromarray(image), steps, tables)) if steps or tables else image


def jitter_steps(
    rng: np.random.Generator, brightness: float, contrast: float, saturation: float, hue: float
) -> list[Step]:
    """Draw the operations of `color_jitter` for one image, in random order and with their factors."""
    if min(brightness, contrast, saturation, hue) < 0 or hue > 0.5:
        raise InputError(
            f"--color_jitter={brightness},{contrast},{saturation},{hue}: brightness, contrast and saturation must be "
            "0 or more, the hue 0 to 0.5"
        )
    strengths = {"Brightness": brightness, "Contrast": contrast, "Color": saturation}
    steps = [Step(name, rng.uniform(max(0.0, 1 - s), 1 + s)) for name, s in strengths.items() if s]
    if hue:
        steps.append(Step("Hue", rng.uniform(-hue, hue)))
    return [steps[i] for i in rng.permutation(len(steps))]


def lighting_tables(rng: np.random.Generator, std: float) -> tuple[bytes, bytes, bytes]:
    """Draw the color that `lighting` adds: what 0 to 255 become, 256 bytes for each channel."""
    added = 255 * PCA_VECTORS @ (PCA_VALUES * rng.normal(0, std, 3))
    red, green, blue = np.clip(np.rint(np.arange(256) + added[:, None]), 0, 255).astype(np.uint8)
    return red.tobytes(), green.tobytes(), blue.tobytes()


def three_augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Convert to gray, solarize above 128 or blur by 0.1 to 2 pixels, at random (DeiT III, Touvron et al. 2022).

    Args:
        image: uint8 [H,W,3].
        rng: source of randomness.

    Returns:
        uint8 [H,W,3].
    """
    return np.asarray(apply_steps(Image.fromarray(image), [three_augment_step(rng)]))


def three_augment_step(rng: np.random.Generator) -> Step:
    """Draw the operation of `three_augment` for one image."""
    choices = (Step("Gray"), Step("Solarize", 128), Step("GaussianBlur", rng.uniform(0.1, 2.0)))
    return choices[rng.integers(3)]
