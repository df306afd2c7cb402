"""Tests run on eight forced CPU devices, with implicit rank promotion an error, and keep no compiled programs."""

import os

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8 " + os.environ.get("XLA_FLAGS", "")
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""  # for the commands that tests run, too

import jax

jax.config.update("jax_numpy_rank_promotion", "raise")
