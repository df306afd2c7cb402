"""The head or decoder behind a frozen encoder, applied like the whole network to features in place of images."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from flax import linen as nn

from resnet_jax.run.build import Run
from resnet_jax.run.new_parts import ENCODER

HEAD = "head"
POOLED = "pooled"


def features_read(model: Any, outputs: Iterable[str]) -> list[str]:
    """Return which of a network's outputs the part behind the encoder reads: of a classifier the pooled features."""
    return model.decoder().reads(outputs) if hasattr(model, "decoder") else [POOLED]


def without_encoder(run: Run) -> Any:
    """Return what is applied like a run's network, to a batch of cached features."""
    model: Any = run.model
    if not hasattr(model, "decoder"):
        return HeadAlone(len(run.data.class_names))
    return DecoderAlone(model.decoder(), run.data.train_shape)


@dataclass(frozen=True)
class HeadAlone:
    """The last layer of a network, applied like the network, to pooled features [B,C] in place of images."""

    num_classes: int

    def apply(self, variables: Any, features: Any, /, **settings: Any) -> Any:
        """Return the features of the network that a training step reads, and its statistics."""
        del settings
        logits = nn.Dense(self.num_classes).apply({"params": variables["params"][HEAD]}, features)
        return {"logits": logits}, {"batch_stats": variables["batch_stats"]}


@dataclass(frozen=True)
class DecoderAlone:
    """The decoder of a network, applied like the network, to the stages of its encoder in place of images.

    Attributes:
        decoder: the decoder.
        size: height and width of the images.
    """

    decoder: Any
    size: tuple[int, int]

    def apply(self, variables: Any, stages: Any, /, *, train: bool, mutable: Any, rngs: Any, features: bool) -> Any:
        """Return the features of the network that a training step reads, and its statistics."""
        del features
        own = {kind: {n: v for n, v in tree.items() if n != ENCODER} for kind, tree in variables.items()}
        outputs, updates = self.decoder.apply(own, stages, self.size, train=train, mutable=mutable, rngs=rngs)
        statistics = variables["batch_stats"] | updates.get("batch_stats", {})
        return outputs, {"batch_stats": statistics}
