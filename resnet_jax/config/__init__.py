from resnet_jax.config.options import Config

__all__ = ["Config"]
