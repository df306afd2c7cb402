"""Weights from the Hugging Face hub."""

from pathlib import Path

from resnet_jax.errors import InputError
from resnet_jax.weights.formats import PRETRAINED

FILE = "model.safetensors"


def download(hub_id: str) -> Path:
    """The weights of a hub id such as "timm/resnet50.tv_in1k", in the hub's cache; fetched on the first call.

    Raises:
        InputError: they cannot be fetched, or the extra `pretrained` is not installed.
    """
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise InputError(f"{hub_id}: the hub needs the extra `pretrained`: {PRETRAINED}") from None
    try:
        return Path(hf_hub_download(hub_id, FILE))
    except Exception as error:  # no network, no such repository, no such file, a proxy: one kind of exception each
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(
            f"{hub_id}: cannot be fetched from the hub ({reason}); where there is no network, bring {FILE} from "
            f"https://huggingface.co/{hub_id} and give its path"
        ) from error
