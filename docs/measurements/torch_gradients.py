"""One step's loss and gradients by torchvision in float64, and how far PyTorch's faster types are from them.

    python docs/measurements/torch_gradients.py resnet50 FOLDER

FOLDER/batch.npz has "image" [B,H,W,3], normalized, and "label" [B]. Writes FOLDER/weights.pth (new weights of seed 0),
and FOLDER/gradients.pth, a state dict with the gradients in place of the parameters; prints one JSON object.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch_step import GPU, build


def gradients(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, half: bool) -> tuple[float, dict]:
    """Return the loss, and each parameter's gradient in float64 on the CPU."""
    model.zero_grad(set_to_none=True)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
        loss = F.cross_entropy(model(images), labels)
    loss.backward()
    return float(loss), {name: p.grad.double().cpu() for name, p in model.named_parameters() if p.grad is not None}


def main() -> None:
    """Write the gradients, and print the errors of the others."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    batch = np.load(folder / "batch.npz")
    images = torch.from_numpy(batch["image"]).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(batch["label"]).long()
    torch.manual_seed(0)
    model = build(name).train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    torch.save(state, folder / "weights.pth")
    loss, exact = gradients(model.double(), images.double(), labels, half=False)
    torch.save({key: exact.get(key, value).float() for key, value in state.items()}, folder / "gradients.pth")
    norm = sum(float(g.square().sum()) for g in exact.values()) ** 0.5
    found = {"loss": loss, "gradient_norm": norm, "errors": {}}
    device = "cuda" if GPU else "cpu"
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    for dtype in ("float32", "bfloat16"):
        model = build(name).train().to(device, memory_format=torch.channels_last)
        model.load_state_dict(state)
        _, other = gradients(model, images.float().to(device), labels.to(device), half=dtype == "bfloat16")
        error = sum(float((other[key] - exact[key]).square().sum()) for key in exact) ** 0.5
        found["errors"][dtype] = error / norm
    print(json.dumps(found))


if __name__ == "__main__":
    main()
