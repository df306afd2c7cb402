from resnet_jax.run.train import train

__all__ = ["train"]
