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

    :raises UserError: a weight is larger than float16 can hold.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
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
        if np.abs(value).max(initial=0) > LARGEST:
            raise UserError(f"{tensor.name}: a weight is larger than fp16 can hold ({LARGEST:.0f}); use fp32")
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
        elif node.output[0] in outputs:
            output = node.output[0]
            node.output[0] = f"{output}:fp16"
            nodes += [node, _cast(f"{output}:fp16", output, TensorProto.FLOAT)]
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return result


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


def _cast(source: str, target: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}:cast", to=kind)


def _is_constant(name: str, graph: onnx.GraphProto) -> bool:
    return any(tensor.name == name for tensor in graph.initializer)
