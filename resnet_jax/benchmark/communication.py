"""Communication between devices in a training step, and its cost: computed, nothing is measured.

`experiments.benchmark --mode=communication` prints the tables of docs/scaling.md.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax

from resnet_jax.files.markdown_table import markdown_table
from resnet_jax.models.counts import abstract_variables, parameter_count
from resnet_jax.models.registry import create_model

FLOAT32 = 4  # bytes a value; in bfloat16, GPUs and TPUs send half of it for the gradients of convolutions


@dataclass(frozen=True)
class Cluster:
    """Devices in nodes. Rates are those that collectives reach, in bytes a second of each device and direction.

    Attributes:
        node: devices of a node.
        inner_rate: within a node.
        outer_rate: between nodes.
        inner_wait: latency of a collective within a node, in seconds.
        outer_wait: the same for each time that the number of nodes doubles.
        largest: bytes that XLA combines in one collective.
    """

    node: int = 8
    inner_rate: float = 0.8 * 450e9
    outer_rate: float = 0.8 * 50e9
    inner_wait: float = 20e-6
    outer_wait: float = 20e-6
    largest: float = 30 * 2**20


# Eight H100 on NVLink (450 GB/s in each direction) and a network of 400 Gbit/s each: the vendor's figures, of which
# 80 % are assumed to be reached. The waiting times are assumptions too.
DGX_H100 = Cluster()


@dataclass(frozen=True)
class Exchange:
    """Values that are summed over the devices in one step.

    Attributes:
        gradients: values, float32.
        statistics: values of a batch that is normalized as a whole: mean and mean square of every channel, and in the
            backward pass their gradients.
        norms: normalizations: each waits for one sum in the forward pass and one in the backward pass.
    """

    gradients: int
    statistics: int
    norms: int


def exchange(name: str, image_size: int) -> Exchange:
    """Return the numbers of values that a training step of a network exchanges."""
    variables: Any = abstract_variables(create_model(name), image_size)
    running = jax.tree.leaves(variables["batch_stats"])
    return Exchange(parameter_count(variables["params"]), 2 * sum(leaf.size for leaf in running), len(running) // 2)


def sent_bytes(size: float, devices: int) -> float:
    """Return the bytes that each device sends, and receives, while arrays of `size` bytes are summed in a ring.

    Half of them are the reduce-scatter's, half the all-gather's: FSDP moves the second half from the gradients to the
    parameters.
    """
    return 2 * (devices - 1) / devices * size


def all_reduce_seconds(size: float, devices: int, cluster: Cluster = DGX_H100) -> float:
    """Return the time of the all-reduce of `size` bytes: within the nodes, then each device's share between them."""
    nodes = max(1, devices // cluster.node)
    inside = sent_bytes(size, min(devices, cluster.node)) / cluster.inner_rate
    between = sent_bytes(size / cluster.node, nodes) / cluster.outer_rate
    wait = cluster.inner_wait + cluster.outer_wait * math.log2(nodes)
    return inside + between + wait * max(1, math.ceil(size / cluster.largest))


def statistics_seconds(what: Exchange, devices: int, cluster: Cluster = DGX_H100) -> float:
    """Return the time of the sums of a batch that is normalized as a whole: nothing can be computed meanwhile."""
    sums = 2 * what.norms
    return sums * all_reduce_seconds(what.statistics * FLOAT32 / sums, devices, cluster)


def efficiency(step_seconds: float, summed_seconds: float, waited_seconds: float = 0.0, hidden: float = 0.0) -> float:
    """Return the part of a device's speed that is left.

    Args:
        step_seconds: of a step on a single device.
        summed_seconds: of the gradients' sums.
        waited_seconds: of sums during which nothing is computed.
        hidden: part of the step during which gradients can be summed; 2/3 is the backward pass.
    """
    return step_seconds / (step_seconds + max(0.0, summed_seconds - hidden * step_seconds) + waited_seconds)


NETWORKS = {
    **dict.fromkeys(("resnet20_cifar", "resnet110_cifar", "resnet1202_cifar"), 32),
    **dict.fromkeys(("resnet18", "resnet50", "resnet101", "resnet152", "wide_resnet50_2"), 224),
}
# Images a second of one H100: ResNet-50's is published (MLPerf Training v3.0, eight of them, 56,078 / 8); the others'
# are taken to be in proportion to the bytes that a step in bfloat16 moves, computed, in MB an image.
PUBLISHED, MEGABYTES = 7010, {"resnet18": 79, "resnet50": 359, "resnet101": 539, "resnet152": 761}
# Devices, and images of each: the whole batch is 2,048, then 8,192, then 32,768.
SCALES = ((8, 256), (64, 128), (1024, 32))


def exchange_row(name: str) -> tuple[str, ...]:
    """Return the table row of the values that a network exchanges in a step, and the megabytes each device sends."""
    what = exchange(name, NETWORKS[name])
    megabytes = what.gradients * FLOAT32 / 1e6
    sent = (f"{sent_bytes(megabytes, devices):.1f}" for devices in (8, 1024))
    return f"`{name}`", f"{what.gradients:,}", f"{megabytes:.1f}", *sent, f"{what.statistics:,}", f"{2 * what.norms:,}"


def efficiency_row(name: str) -> tuple[str, ...]:
    """Return the table row of the speed that is left: gradients summed during the backward pass / after it / and with
    statistics.

    The last is with hidden gradients and whole-batch statistics: what waiting for those alone costs.
    """
    what = exchange(name, NETWORKS[name])
    speed = PUBLISHED * MEGABYTES["resnet50"] / MEGABYTES[name]
    cells = []
    for devices, images in SCALES:
        step, summed = images / speed, all_reduce_seconds(what.gradients * FLOAT32, devices)
        parts = (
            efficiency(step, summed, hidden=2 / 3),
            efficiency(step, summed),
            efficiency(step, summed, statistics_seconds(what, devices), hidden=2 / 3),
        )
        cells.append(f"{1e3 * step:.1f} ms, {1e3 * summed:.2f} ms: {' / '.join(f'{part:.0%}' for part in parts)}")
    return f"`{name}`", *cells


def tables() -> str:
    """Return both tables of docs/scaling.md, in Markdown."""
    exchanged = ("network", "gradients", "MB", "sent by each of 8, MB", "of 1,024, MB", "statistics", "in collectives")
    scaled = ("network", *(f"{devices:,} devices of {images} images" for devices, images in SCALES))
    first = markdown_table(exchanged, map(exchange_row, NETWORKS))
    return f"{first}\n\n{markdown_table(scaled, map(efficiency_row, MEGABYTES))}"
