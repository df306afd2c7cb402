"""The transform of one training image on the host: crop, resize, flip, policy, color."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from resnet_jax.data.augment import host
from resnet_jax.data.augment.color import color_jitter
from resnet_jax.data.augment.policies import Policy
from resnet_jax.data.augment.resize import Interpolation, resize
from resnet_jax.data.decode import decode_image, decode_part


@dataclass(frozen=True)
class TrainTransform:
    """The transform of training: (image uint8 [H,W,3], rng, size) -> uint8 [size,size,3]. Pickles, for workers.

    Attributes:
        crop: "random_resized" (Szegedy et al. 2015), "scale_jitter" (He et al. 2015), or "pad", for small images:
            shifted within a border of `padding` pixels, and resized where `size` differs.
        scale: of random_resized: smallest and largest part of the area.
        ratio: of random_resized: narrowest and widest width / height.
        padding: of pad.
        padding_mode: of pad: "zeros" or "reflect".
        interpolation: of the resizing; "fast" decodes files faster too, within the bounds of `fast_resize`.
        flip: mirror half of the images.
        jitter: brightness, contrast and saturation change by up to this part.
        lighting: standard deviation of the noise along the principal components of color.
        augment: a policy, or None.
    """

    crop: Literal["random_resized", "scale_jitter", "pad"] = "random_resized"
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    padding: int = 0
    padding_mode: Literal["zeros", "reflect"] = "zeros"
    interpolation: Interpolation = "bilinear"
    flip: bool = True
    jitter: float = 0.0
    lighting: float = 0.0
    augment: Policy | None = None

    def __call__(self, image: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
        if self.crop == "random_resized":
            image = host.random_resized_crop(image, size, rng, self.scale, self.ratio, self.interpolation)
        elif self.crop == "scale_jitter":
            image = host.scale_jitter_crop(image, size, rng, interpolation=self.interpolation)
        else:
            image = host.pad_and_crop(image, rng, self.padding, self.padding_mode)
            image = self._resized(image, rng, size)
        return self._changed(image, rng)

    def from_file(
        self, data: bytes, name: str, rng: np.random.Generator, size: int, intact: bool = False
    ) -> np.ndarray:
        """Transform an image file; but for "fast" and "random" interpolation, bit for bit as `__call__`.

        Args:
            data: the file.
            name: what errors call it.
            rng: source of randomness.
            size: of the result, pixels.
            intact: the file is known to be whole, and decoding may end with the crop (`decode_part`).

        Returns:
            uint8 [size,size,3].

        Raises:
            UnreadableImage: it cannot be decoded.
        """
        if self.crop != "random_resized":
            return self(decode_image(data, name), rng, size)
        fast = self.interpolation == "fast"
        part = decode_part(data, name, lambda h, w: host.crop_box(h, w, rng, self.scale, self.ratio), fast, intact)
        return self._changed(self._resized(part, rng, size), rng)

    def _changed(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.flip:
            image = host.random_flip(image, rng)
        if self.augment is not None:
            image = self.augment(image, rng)
        return color_jitter(image, rng, *(self.jitter,) * 3, lighting=self.lighting)

    def _resized(self, image: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
        if image.shape[:2] == (size, size):
            return image
        return resize(image, size, size, host.drawn_interpolation(self.interpolation, rng))
