"""PyTorch's speed on the same work, for `python -m experiments.benchmark --against="python torch_step.py …"`.

    pip install torch torchvision
    python docs/measurements/torch_step.py resnet50 --batch_size=256 --image_size=224 --dtype=bfloat16 --compile

Prints one JSON object: the median of --rounds timed steps on images that are on the device, channels_last, SGD with
momentum, on a GPU under autocast for bfloat16. ImageNet's networks are torchvision's, CIFAR's (resnet20_cifar) those of
He et al. 2015. torchvision's wheel loads beside a CPU build of PyTorch too (`pip install --no-deps torchvision`): its
compiled operators, which no network needs, are then declared without being there.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

GPU = torch.cuda.is_available()
SAMPLE_SECONDS = 0.5  # a GPU's steps are too short for a clock
OPERATORS = ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
OPERATORS += tuple(f"_{name}_backward" for name in OPERATORS[2:])


class Block(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and pads with zeros (option A)."""

    def __init__(self, cin: int, cout: int, stride: int):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout)
        self.conv2, self.norm2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout)
        self.stride, self.padding = stride, (cout - cin) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(x + y)


def cifar_resnet(depth: int) -> nn.Module:
    """Return the network of 6n + 2 layers, for ten classes."""
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    cin = 16
    for stage, cout in enumerate((16, 32, 64)):
        for index in range((depth - 2) // 6):
            layers.append(Block(cin, cout, 2 if stage and not index else 1))
            cin = cout
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def build(name: str) -> nn.Module:
    """Return the network of that name."""
    if name.endswith("_cifar"):
        return cifar_resnet(int(name.removeprefix("resnet").removesuffix("_cifar")))
    library = torch.library.Library("torchvision", "FRAGMENT")  # kept until torchvision has been imported
    for operator in OPERATORS if torch.version.cuda is None else ():
        library.define(f"{operator}(Tensor x) -> Tensor")
    import torchvision.models

    return getattr(torchvision.models, name)(weights=None)


def capture(step: Callable[[], None]) -> Callable[[], None]:
    """Return the step as a CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def wait() -> None:
    """Wait for all that is queued."""
    if GPU:
        torch.cuda.synchronize()


def build_step(options: argparse.Namespace) -> Callable[[], None]:
    """Return the step that is timed, on images that are on the device."""
    torch.backends.cudnn.benchmark = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = "cuda" if GPU else "cpu"
    model = build(options.model).to(device, memory_format=torch.channels_last).train(options.mode == "train")
    size, batch = options.image_size, options.batch_size
    images = torch.randn(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch,), device=device)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4, foreach=GPU)
    network = torch.compile(model, mode=options.compile) if options.compile else model
    half = torch.autocast(device, torch.bfloat16, enabled=options.dtype == "bfloat16")

    def train_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with half:
            loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    @torch.no_grad()
    def infer_step() -> None:
        with half:
            network(images)

    step = train_step if options.mode == "train" else infer_step
    return capture(step) if options.graph else step


def main() -> None:
    """Measure, and print one object; with --turns, one for every line of standard input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--mode", choices=("train", "infer"), default="train")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", nargs="?", const="max-autotune", default="", help="torch.compile, in this mode")
    parser.add_argument("--graph", action="store_true", help="a CUDA graph of the step")
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--turns", action="store_true", help="measure for every line of standard input")
    options = parser.parse_args()
    step = build_step(options)
    for _ in range(options.warmup):
        step()
    wait()
    began = time.perf_counter()
    step()
    wait()
    count = max(1, round(SAMPLE_SECONDS / (time.perf_counter() - began)))
    for _ in sys.stdin if options.turns else [""]:
        print(json.dumps(measured(step, count, options)), flush=True)


def measured(step: Callable[[], None], count: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the median of --rounds samples of `count` steps."""
    wall, cpu = [], []
    for _ in range(options.rounds):
        began, cpu_began = time.perf_counter(), time.process_time()
        for _ in range(count):
            step()
        wait()
        wall.append((time.perf_counter() - began) / count)
        cpu.append((time.process_time() - cpu_began) / count)
    seconds = statistics.median(wall)
    settings = ("model", "mode", "dtype", "compile", "graph", "batch_size", "image_size")
    return {
        "framework": f"torch {torch.__version__}",
        "device": torch.cuda.get_device_name() if GPU else "cpu",
        **{name: getattr(options, name) for name in settings},
        "images_per_second": round(options.batch_size / seconds, 2),
        "milliseconds_per_step": round(1e3 * seconds, 3),
        "cpu_milliseconds_per_step": round(1e3 * statistics.median(cpu), 3),
    }


if __name__ == "__main__":
    main()
