"""PyTorch and torchvision, imported once for all comparisons; where they are absent, what imports this skips."""

import pytest

torch = pytest.importorskip("torch", reason="the originals are torch's: pip install torch torchvision timm")
if torch.version.cuda is None:
    from tests.parity import torchvision_cpu

    OPERATORS = torchvision_cpu.declare(torch)  # kept: the declarations go with it
torchvision = pytest.importorskip("torchvision", reason="the originals are torchvision's", exc_type=ImportError)
