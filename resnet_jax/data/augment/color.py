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
) -> np.ndarray:
    """Change brightness, contrast, saturation and hue at random, in random order, as torchvision's ColorJitter does.

    Args:
        image: uint8 [H,W,3].
        rng: source of randomness.
        brightness: b draws the factor from max(0, 1 - b) to 1 + b; 0 leaves it alone.
        contrast: likewise.
        saturation: likewise.
        hue: h draws the turn from -h to h of the color circle; at most 0.5.

    Returns:
        uint8 [H,W,3].

    Raises:
        InputError: a strength is negative, or the hue's above 0.5.
    """
    steps = jitter_steps(rng, brightness, contrast, saturation, hue)
    return np.asarray(apply_tones(Image.fromarray(image), steps)) if steps else image


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


def pca_lighting(image: np.ndarray, rng: np.random.Generator, std: float = 0.1) -> np.ndarray:
    """Add one random color to all pixels, along the principal components of ImageNet (Krizhevsky et al. 2012).

    Args:
        image: uint8 [H,W,3].
        rng: source of randomness.
        std: of the three normal draws, in units of PCA_VALUES.

    Returns:
        uint8 [H,W,3], rounded and clipped to 0 to 255; the original stays in floating point.
    """
    return np.asarray(apply_tones(Image.fromarray(image), [], lighting_tables(rng, std)))


def lighting_tables(rng: np.random.Generator, std: float) -> tuple[bytes, bytes, bytes]:
    """Draw the color that `pca_lighting` adds: what 0 to 255 become, 256 bytes for each channel."""
    added = 255 * PCA_VECTORS @ (PCA_VALUES * rng.normal(0, std, 3))
    red, green, blue = np.clip(np.rint(np.arange(256) + added[:, None]), 0, 255).astype(np.uint8)
    return red.tobytes(), green.tobytes(), blue.tobytes()


def jitter_and_light(image: np.ndarray, rng: np.random.Generator, jitter: float, lighting: float) -> np.ndarray:
    """Apply `color_jitter` of brightness, contrast and saturation, and then `pca_lighting`, in fewer passes.

    Args:
        image: uint8 [H,W,3].
        rng: source of randomness.
        jitter: strength of the first three; 0 leaves them alone.
        lighting: standard deviation of the light; 0 adds none.

    Returns:
        uint8 [H,W,3].
    """
    steps = jitter_steps(rng, jitter, jitter, jitter, 0) if jitter else []
    tables = lighting_tables(rng, lighting) if lighting else None
    return np.asarray(apply_tones(Image.fromarray(image), steps, tables)) if steps or tables else image


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
