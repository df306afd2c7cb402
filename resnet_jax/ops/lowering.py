"""Which of several equal ways of writing a layer is taken: results differ by rounding, speed by the device."""

import os

import jax

from resnet_jax.errors import InputError

FORMS = {
    "canonical": "gradients of convolutions and 1x1 convolutions by hand (convolution.py, kernel_gradient.py)",
    "kept_places": "the gradient of max pooling goes to places that were kept (max_pool.py)",
    "matrix_product": "1x1 convolutions as matrix products, with automatic gradients (convolution.py)",
    "space_to_depth": "convolutions of stride 2 on images as ones of stride 1 on blocks of pixels (space_to_depth.py)",
}
# The others are for matrix units, and off until an accelerator has shown that they pay.
OF_BACKEND = {"cpu": ("canonical", "kept_places")}


def taken() -> list[str]:
    """The forms that what is traced now takes."""
    return [form for form in FORMS if chosen(form)]


def chosen(form: str) -> bool:
    """Whether what is traced now takes this form: by the default backend, or as RESNET_JAX_FORMS says.

    That is a list such as "matrix_product,space_to_depth", which is read when a program is traced; "" takes none, and
    so JAX's own form of everything.

    Raises:
        InputError: the list names a form that there is not.
    """
    asked = os.environ.get("RESNET_JAX_FORMS")
    if asked is None:
        return form in OF_BACKEND.get(jax.default_backend(), ())
    names = [name for name in asked.split(",") if name]
    if unknown := [name for name in names if name not in FORMS]:
        raise InputError(f"RESNET_JAX_FORMS={asked}: there is no form {unknown[0]}; known are {', '.join(FORMS)}")
    return form in names
