"""Equal programs are compiled once in a process: each training builds functions of its own, which JAX compiles anew.

Half of the time of the tests in tests/run was that. A cache in a folder is no way: programs for several devices of a
CPU that are read from one can wait for ever in their collectives.
"""

import hashlib
from collections import OrderedDict
from typing import Any

from jax._src import compiler

MOST = 300  # the newest programs, a few megabytes each


def compile_once() -> None:
    """Keep what JAX compiles from here on, by the text of the program, its devices and its options."""
    compile_anew: Any = compiler.compile_or_get_cached
    kept: OrderedDict[Any, Any] = OrderedDict()

    def compile_or_take(
        backend: Any, computation: Any, devices: Any, options: Any, callbacks: Any, *rest: Any, **named: Any
    ) -> Any:
        if callbacks:  # of Python, which the text does not hold
            return compile_anew(backend, computation, devices, options, callbacks, *rest, **named)
        text = computation.operation.get_asm(enable_debug_info=False)
        places = tuple(device.id for device in devices.flat)
        key = hashlib.sha256(text.encode()).digest(), options.SerializeAsString(), places
        if key not in kept:
            kept[key] = compile_anew(backend, computation, devices, options, callbacks, *rest, **named)
        kept.move_to_end(key)
        if len(kept) > MOST:
            kept.popitem(last=False)
        return kept[key]

    compiler.compile_or_get_cached = compile_or_take
