"""Half precision written into an ONNX graph, as strongly typed runtimes take it: TensorRT, ONNX Runtime on a GPU.

Inputs and outputs stay float32; a Cast follows the one and precedes the others.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from core.errors import UserError

LARGEST = float(np.finfo(np.float16).max)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model that computes in float16.

    In an INT8 model the scales of the activations become float16 too, and with them what lies between two
    convolutions; the weights' scales stay float32, since a channel's may be smaller than float16 can hold, and their
    DequantizeLinear is followed by a Cast.

    What float16 has no operator for stays in float32, and numbers that are made in the graph as float32 are float16.

    :raises UserError: a weight is larger than float16 can hold.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    inferred = onnx.shape_inference.infer_shapes(model).graph.value_info
    floats = {value.name for value in inferred if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    _made_inside(graph)
    kernels = {name for node in graph.node if node.op_type == "Conv" for name in node.input[1:]}
    weight_scales = {
        node.input[1]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and _is_constant(node.input[0], graph)
    }
    resize_scales = {node.input[2] for node in graph.node if node.op_type == "Resize"}
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in weight_scales | resize_scales:
            continue
        value = numpy_helper.to_array(tensor)
        if tensor.name in kernels and np.abs(value).max(initial=0) > LARGEST:
            raise UserError(f"{tensor.name}: a weight is larger than fp16 can hold ({LARGEST:.0f}); use fp32")
        value = np.clip(value, -LARGEST, LARGEST)  # a mask's "minus infinity"
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), tensor.name))
    inputs = {value.name for value in graph.input if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    outputs = {value.name for value in graph.output}
    nodes = [_cast(name, f"{name}:fp16", TensorProto.FLOAT16) for name in sorted(inputs)]
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name in inputs:
                node.input[i] = f"{name}:fp16"
        if node.op_type == "DequantizeLinear" and node.input[1] in weight_scales:
            output = node.output[0]
            node.output[0] = f"{output}:fp32"
            nodes += [node, _cast(f"{output}:fp32", output, TensorProto.FLOAT16)]
        elif node.op_type in FLOAT32_ONLY and node.output[0] in floats:
            nodes += _in_float32(node)
        elif node.output[0] in outputs:
            output = node.output[0]
            node.output[0] = f"{output}:fp16"
            nodes += [node, _cast(f"{output}:fp16", output, TensorProto.FLOAT)]
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return result


FLOAT32_ONLY = frozenset({"Range"})
"""Operators without a float16 form."""


def _made_inside(graph: onnx.GraphProto) -> None:
    """Make float16 of what casts and fills make float32."""
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
            elif node.op_type == "ConstantOfShape" and attribute.t.data_type == TensorProto.FLOAT:
                value = numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(numpy_helper.from_array(value))
        if node.op_type == "ConstantOfShape" and not node.attribute:  # zeros, float32
            node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(np.zeros(1, np.float16))))


def _in_float32(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Return the node with casts around it."""
    before = [_cast(name, f"{name}:{node.name}:fp32", TensorProto.FLOAT) for name in node.input]
    node.input[:] = [cast.output[0] for cast in before]
    output = node.output[0]
    node.output[0] = f"{output}:fp32"
    return [*before, node, _cast(f"{output}:fp32", output, TensorProto.FLOAT16)]


def fp16_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model in half precision whose outputs are float16 too: half as much to fetch from a GPU."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    outputs = {value.name: value for value in graph.output}
    last = {node.output[0]: node for node in graph.node if node.op_type == "Cast" and node.output[0] in outputs}
    for name, node in last.items():
        for source in graph.node:
            if source.output[0] == node.input[0]:
                source.output[0] = name
        graph.node.remove(node)
        outputs[name].type.tensor_type.elem_type = TensorProto.FLOAT16
    return result


def fp16_ends(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model in half precision whose inputs and outputs are float16 too.

    Where kernels of our own write and read them, each cast is a kernel too many.
    """
    result = fp16_outputs(model)
    graph = result.graph
    inputs = {value.name: value for value in graph.input}
    first = [node for node in graph.node if node.op_type == "Cast" and node.input[0] in inputs]
    for cast in first:
        name = cast.input[0]
        for node in graph.node:
            for i, given in enumerate(node.input):
                if given == cast.output[0]:
                    node.input[i] = name
        graph.node.remove(cast)
        inputs[name].type.tensor_type.elem_type = TensorProto.FLOAT16
    return result


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}:cast", to=kind)


def _is_constant(name: str, graph: onnx.GraphProto) -> bool:
    return any(tensor.name == name for tensor in graph.initializer)
