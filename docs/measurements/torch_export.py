"""Write torchvision's network by PyTorch's exporter: `python -m docs.measurements.torch_export resnet50 torch.onnx`.

Weights are random. It needs the environment of tests/parity, and onnx.
"""

import sys

import torch

from tests.parity.torchvision_cpu import declare

operators = declare(torch)  # without a CUDA build of torch, torchvision is imported behind them alone
import torchvision  # noqa: E402

name, path = sys.argv[1:]
network = torchvision.models.get_model(name, weights=None).eval()
images = torch.zeros(1, 3, 224, 224)
torch.onnx.export(network, (images,), path, dynamo=False, dynamic_axes={"image": {0: "batch"}}, input_names=["image"])
