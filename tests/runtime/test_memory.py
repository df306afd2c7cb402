"""What does not fit in memory is one line with the remedy."""

import jax
import pytest

from resnet_jax.errors import InputError
from resnet_jax.runtime.memory import memory_remedy


def test_memory_that_does_not_suffice_is_one_line_with_the_remedy():
    with (
        pytest.raises(InputError, match=r"^the memory does not suffice; take less$"),
        memory_remedy(lambda: "take less"),
    ):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4 bytes.")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), memory_remedy(lambda: "take less"):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
