"""ONNX files: a trained network as a graph that other programs run.

The network is traced to JAX's primitives, and each becomes an operator (`operators.py`). Channels come before pixels,
[B,C,H,W], as runtimes want it; the batch is of any size. Normalizations and biases are part of the kernels.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from flax import linen as nn
from jax import export
from jax.extend.core import Literal
from onnx import TensorProto, helper, numpy_helper

from resnet_jax.data.preprocessing import Preprocessing
from resnet_jax.errors import InputError
from resnet_jax.export.graph import PIXELS, Graph, Value, is_constant
from resnet_jax.export.modules import as_primitives
from resnet_jax.export.operators import FUNCTIONS, RULES
from resnet_jax.models.resnet.scan import unrolled
from resnet_jax.ops.lowering import plain_lowering

# Primitives that call a program once.
CALLS = {"jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "checkpoint", "remat2"}
OPSET, IR = 21, 10  # of 2024, the first whose GroupNormalization is right; onnxruntime 1.18 reads them


def to_onnx(
    model: nn.Module,
    variables: Any,
    image_size: tuple[int, int],
    facts: Mapping[str, str] = MappingProxyType({}),
    preprocessing: Preprocessing | None = None,
) -> onnx.ModelProto:
    """Write a network as a graph.

    Args:
        model: the network.
        variables: its trained variables.
        image_size: height and width of the images, pixels.
        facts: metadata of the file.
        preprocessing: put it into the graph, whose images are then uint8 [B,H,W,3]; None leaves it out, and images are
            normalized float32 [B,3,H,W].

    Returns:
        The graph from "image" to "logits", [B,K] or of pixels [B,K,H,W].

    Raises:
        InputError: the network computes something for which there is no operator.
    """
    model, (batch,) = unrolled(model), export.symbolic_shape("batch")
    shape = (batch, *image_size, 3)

    def network(images: jax.Array) -> Any:
        with nn.intercept_methods(as_primitives):
            return model.apply(variables, images, train=False)

    with plain_lowering():
        program = jax.make_jaxpr(network)(jax.ShapeDtypeStruct(shape, jnp.float32))
    graph = Graph()
    if preprocessing:
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *shape[1:]])
        floats = graph.add("Cast", ["image"], to=TensorProto.FLOAT)
        mean, std = (np.array(v).reshape(1, 1, 1, 3) for v in (preprocessing.mean, preprocessing.std))
        channels_first = graph.add("Transpose", [floats], perm=PIXELS)
        first = Value(channels_first, shape, PIXELS).affine(1 / (255 * std), -mean / std)
    else:
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, *image_size])
        first = Value("image", shape, PIXELS)
    (logits,) = _write(graph, program.jaxpr, program.consts, [first])
    axes = PIXELS if len(logits.shape) == 4 else (0, 1)
    output = graph.whole(logits, axes).name
    sizes = ["batch", *(logits.shape[a] for a in axes[1:])]
    proto = helper.make_model(
        graph.proto(image, output, sizes),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
        producer_name="resnet_jax",
    )
    helper.set_model_props(proto, dict(facts))
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _write(graph: Graph, jaxpr: Any, constants: Any, inputs: list[Any], path: str = "") -> list[Any]:
    """Write a traced program; return its results: values of the graph, or arrays where they are constant."""
    read = Counter(v for e in jaxpr.eqns for v in e.invars if not isinstance(v, Literal))
    read.update(v for v in jaxpr.outvars if not isinstance(v, Literal))
    known: dict[Any, Any] = {}

    def store(variables: Any, results: Any) -> None:
        for variable, result in zip(variables, results, strict=True):
            if isinstance(result, Value) and read[variable] > 1:
                # What several read has no scale or shift left, and the operator before it may not change.
                graph.path = path
                result = replace(graph.applied(result), sole_reader=False)
            known[variable] = result

    store(jaxpr.constvars, constants)
    store(jaxpr.invars, inputs)
    for eqn in jaxpr.eqns:
        operands = [v.val if isinstance(v, Literal) else known[v] for v in eqn.invars]
        here = "/".join(filter(None, (path, str(eqn.source_info.name_stack))))
        graph.path = here
        try:
            results = _results(graph, eqn, operands, here)
            store(eqn.outvars, results if isinstance(results, (list, tuple)) else [results])
        except InputError:
            raise
        except Exception as error:  # of many kinds, of what no rule foresaw
            reason = (
                str(error).split("\n")[0] if isinstance(error, NotImplementedError) else f"{eqn.primitive} of a form"
            )
            raise InputError(f"ONNX: {here or 'the network'} has {reason}, which the export cannot write") from error
    return [v.val if isinstance(v, Literal) else known[v] for v in jaxpr.outvars]


def _results(graph: Graph, eqn: Any, operands: list[Any], path: str) -> Any:
    name, constant = eqn.primitive.name, all(map(is_constant, operands))
    inner = next((eqn.params[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in eqn.params), None)
    rule = FUNCTIONS.get(eqn.params.get("name", "")) if name in CALLS else RULES.get(name)
    if name in CALLS and (constant or not rule):
        return _write(graph, getattr(inner, "jaxpr", inner), getattr(inner, "consts", ()), operands, path)
    # An array that is repeated over the batch stays as it is.
    if constant and not (name == "broadcast_in_dim" and not all(isinstance(n, int) for n in eqn.params["shape"])):
        return eqn.primitive.bind(*operands, **eqn.params)
    if rule is None:
        raise NotImplementedError(f"the primitive {name}")
    return rule(graph, eqn, *operands)


def rounded_to_half(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with every array of float32 rounded to float16."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(proto)
    for array in rounded.graph.initializer:
        if array.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(array).astype(np.float16).astype(np.float32)
            array.CopyFrom(numpy_helper.from_array(values, array.name))
    return rounded


def stored_in_half(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with its arrays of float32 stored in float16, and converted back when it is loaded.

    Raises:
        InputError: a value is beyond the range of float16.
    """
    stored = onnx.ModelProto()
    stored.CopyFrom(proto)
    casts = []
    for array in stored.graph.initializer:
        if array.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(array)
            if np.abs(values).max(initial=0) > np.finfo(np.float16).max:
                raise InputError(f"--half: {array.name} has values beyond float16's {np.finfo(np.float16).max:,.0f}")
            casts.append(helper.make_node("Cast", [f"{array.name}_half"], [array.name], to=TensorProto.FLOAT))
            array.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{array.name}_half"))
    nodes = [*casts, *stored.graph.node]
    del stored.graph.node[:]
    stored.graph.node.extend(nodes)
    return stored
