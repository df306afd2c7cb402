"""The layout and the prefix that the names in a file have, found by comparing them with a network's."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from resnet_jax.weights.layout import Layout, Tensors, names_and_shapes
from resnet_jax.weights.state_dict import AVERAGE


def match(tensors: Tensors, shapes: Any, layouts: Sequence[Layout]) -> tuple[Tensors, Layout, str]:
    """Find the layout and the prefix by which most names are the network's ("module.backbone." in many state dicts).

    Args:
        tensors: by name.
        shapes: of the network's variables, as `jax.eval_shape` gives them.
        layouts: that the file may have.

    Returns:
        (tensors without the prefix and without those that do not have it, layout, a line about what was left out or an
        empty one). Where hardly any name is the network's, the tensors as they are and the first layout.
    """
    tables = [{name for name, _ in names_and_shapes(shapes, layout).values()} for layout in layouts]
    counts = Counter(
        (index, name[:start])
        for name in tensors
        for start in (0, *(m.end() for m in re.finditer(r"[./]", name)))
        for index, table in enumerate(tables)
        if name[start:] in table
    )
    if not counts:
        return tensors, layouts[0], ""
    most = max(counts.values())
    (index, prefix), *others = sorted(
        (key for key, count in counts.items() if count == most), key=lambda key: (bool(AVERAGE.search(key[1])), key[0])
    )
    layout = layouts[index]
    below = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    outside = [name for name in tensors if not name.startswith(prefix) and not layout.ignored(name)]
    if outside and 2 * most < len(tables[index]):
        return tensors, layouts[0], ""
    if not outside:
        return below, layout, ""
    equal = "".join(f"; '{other[1]}' fits too (--weights_key={other[1][:-1]})" for other in others)
    more = ", …" if len(outside) > 3 else ""
    names = f"{len(outside)} other tensors are left out ({', '.join(outside[:3])}{more})"
    return below, layout, f"took the weights under '{prefix}'; {names}{equal}"
