import os

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache


@pytest.fixture(autouse=True)
def cache_restored():
    """The benchmark switches the compilation cache off for its process, which here goes on with other tests."""
    yield
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    compilation_cache.reset_cache()
