"""A detector of another family as a graph that the engines take like one of Darknet's.

Input `image`, float32 (1, 3, height, width), RGB, 0 to 1; what the network wants of it beside that stands at the
graph's head. Outputs are those that its layout reads, float32. Float16 becomes float32, constants become initializers,
and every node has a name of its own: `convolutional_0`, `convolutional_0_silu.mul` as a Darknet network's have.
"""

from __future__ import annotations

import graphlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter

from core.errors import UserError, first_line
from engine.onnx_graph import IMAGE, IR_VERSION, OPSET
from engine.onnx_input import InputSpec

SIZES = "orig_target_sizes"
"""The second input of DETRs that are deployed: what size their boxes are for, width and height."""
SWAPPED = f"{IMAGE}:bgr"


def canonical(
    source: onnx.ModelProto, width: int, height: int, spec: InputSpec, outputs: Sequence[str]
) -> onnx.ModelProto:
    """Return the graph.

    :param source: as its exporter wrote it; not changed.
    :raises UserError: its operators are too old to be brought up to date.
    """
    result = at_input_size(source, width, height)
    _in_order(result.graph)
    _float32(result.graph)
    _keep_outputs(result.graph, outputs)
    result = _up_to_date(result)
    _constants(result.graph)
    _named(result.graph)
    _unshare(result.graph)
    _prepend(result.graph, spec)
    del result.graph.value_info[:]
    return result


def at_input_size(source: onnx.ModelProto, width: int, height: int) -> onnx.ModelProto:
    """Return a copy whose picture has a fixed size, batch 1, and is its only input."""
    result = onnx.ModelProto()
    result.CopyFrom(source)
    graph = result.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    for value in inputs:
        if value.name == SIZES:
            graph.initializer.append(numpy_helper.from_array(np.array([[width, height]], np.int64), SIZES))
            continue
        dims = value.type.tensor_type.shape.dim
        for dim, length in zip(dims, (1, 3, height, width), strict=True):
            dim.Clear()
            dim.dim_value = length
        graph.input.append(value)
    del graph.value_info[:]  # what stands there may be of another size
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    return result


def _in_order(graph: Any) -> None:
    """Put nodes behind those that they read from, as ONNX asks for and some converters do not do."""
    made = {output: i for i, node in enumerate(graph.node) for output in node.output}
    needs = {i: {made[n] for n in (*node.input, *_captured(node)) if n in made} for i, node in enumerate(graph.node)}
    try:
        order = list(graphlib.TopologicalSorter(needs).static_order())
    except graphlib.CycleError as error:
        raise UserError("the ONNX file's nodes read from each other in a circle; export it again") from error
    if all(before < i for i, some in needs.items() for before in some):
        return
    nodes = [onnx.NodeProto.FromString(graph.node[i].SerializeToString()) for i in order]
    del graph.node[:]
    graph.node.extend(nodes)


def _float32(graph: Any) -> None:
    """Compute in float32 whatever was float16."""
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in [*graph.input, *graph.output]:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            elif attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == TensorProto.FLOAT16:
                array = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(array, attribute.t.name))


def _constants(graph: Any) -> None:
    """Make initializers of the nodes that hold a constant."""
    rest = []
    for node in graph.node:
        value = next((a for a in node.attribute if a.name == "value"), None)
        if node.op_type != "Constant" or value is None:
            rest.append(node)
            continue
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value.t)
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
    del graph.node[:]
    graph.node.extend(rest)


def _keep_outputs(graph: Any, names: Sequence[str]) -> None:
    """Keep some outputs, in this order and as float32, and what leads to them."""
    kinds = {value.name: value.type.tensor_type.elem_type for value in graph.output}
    del graph.output[:]
    for name in names:
        if kinds[name] == TensorProto.FLOAT:
            graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
            continue
        graph.node.append(helper.make_node("Cast", [name], [f"{name}:float"], to=TensorProto.FLOAT))
        graph.output.append(helper.make_tensor_value_info(f"{name}:float", TensorProto.FLOAT, None))
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted |= {*node.input, *_captured(node)}
            kept.append(node)
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)


def _captured(node: Any) -> set[str]:
    """Return what the graphs within a node read from around it."""
    inner = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return {name for graph in inner for each in graph.node for name in (*each.input, *_captured(each))}


def _up_to_date(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in the operators that INT8 and half precision need."""
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    result = model
    if version < OPSET:
        try:
            result = version_converter.convert_version(model, OPSET)
        except Exception as error:  # the converter's exceptions have no common base
            if version < 13:
                raise UserError(
                    f"the ONNX file has operators of version {version}, which cannot be brought up to date "
                    f"({first_line(error)}); export it with opset 13 or later"
                ) from error
    result.ir_version = max(result.ir_version, IR_VERSION)
    return result


def _named(graph: Any) -> None:
    """Name convolutions as Darknet's graphs do, their SiLU after them, and everything else so that no name is twice."""
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for tensor in node.input:
            readers.setdefault(tensor, []).append(node)
    for i, node in enumerate(graph.node):
        node.name = f"{node.op_type.lower()}_{i}"
    for i, node in enumerate(node for node in graph.node if node.op_type == "Conv"):
        node.name = f"convolutional_{i}"
        after = {reader.op_type: reader for reader in readers.get(node.output[0], [])}
        if set(after) == {"Sigmoid", "Mul"} and after["Sigmoid"].output[0] in after["Mul"].input:
            after["Sigmoid"].name, after["Mul"].name = f"{node.name}_silu.sigmoid", f"{node.name}_silu.mul"
        elif len(after) == 1 and (kind := next(iter(after))) in ("Relu", "LeakyRelu", "HardSwish"):
            after[kind].name = f"{node.name}_{kind.lower()}"


def _unshare(graph: Any) -> None:
    """Give every convolution a kernel and a bias of its own, since each is quantised by itself."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    taken: set[str] = set()
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        for i, name in enumerate(node.input[1:], 1):
            if name in taken and name in constants:
                copy = graph.initializer.add()
                copy.CopyFrom(constants[name])
                copy.name = node.input[i] = f"{name}:{node.name}"
            taken.add(name)


def _prepend(graph: Any, spec: InputSpec) -> None:
    """Put before the network what it wants of an image, RGB, 0 to 1."""
    first = graph.input[0]
    own = first.name if first.name != IMAGE else f"{IMAGE}:own"
    for node in graph.node:
        node.input[:] = [own if name == first.name else name for name in node.input]
    first.name = IMAGE
    steps: list[tuple[str, str, Any]] = []  # operator, name, constant
    if spec.colour == "bgr":
        steps.append(("Gather", SWAPPED, np.array([2, 1, 0], np.int64)))
    order = slice(None, None, -1) if spec.colour == "bgr" else slice(None)
    mean, std = (np.array(three, np.float32)[order].reshape(1, 3, 1, 1) for three in (spec.mean, spec.std))
    if spec.divisor != 255.0:
        steps.append(("Mul", f"{IMAGE}:scaled", np.float32(255.0 / spec.divisor)))
    if mean.any():
        steps.append(("Sub", f"{IMAGE}:centred", mean))
    if (std != 1).any():
        steps.append(("Div", f"{IMAGE}:normalised", std))
    nodes, tensor = [], IMAGE
    for kind, name, constant in steps:
        graph.initializer.append(numpy_helper.from_array(constant, f"{name}:constant"))
        attributes = {"axis": 1} if kind == "Gather" else {}
        nodes.append(helper.make_node(kind, [tensor, f"{name}:constant"], [name], name=name, **attributes))
        tensor = name
    for node in graph.node:
        node.input[:] = [tensor if name == own else name for name in node.input]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
