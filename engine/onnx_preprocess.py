"""Preparing pixels within a network's ONNX graph: a frame goes in as it was grabbed, uint8, BGR, channels last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.onnx_graph import IMAGE

PIXELS = "pixels"


@dataclass(frozen=True)
class Preprocess:
    """The frames that a graph takes: uint8 (1, height, width, 3), BGR, at the network's own size."""

    height: int
    width: int


def at_size(model: onnx.ModelProto, width: int, height: int) -> onnx.ModelProto:
    """Return a copy of a network's graph for another input size; nothing in it depends on the size but its ends."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    old = _size(result)
    _set_size(result.graph.input[0], width, height)
    for output in result.graph.output:
        dimensions = output.type.tensor_type.shape.dim
        stride = (old[1] // dimensions[2].dim_value, old[0] // dimensions[3].dim_value)
        _set_size(output, width // stride[1], height // stride[0])
    return result


def with_preprocess(model: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """Return a copy of a network's graph that takes `pixels` in place of `image`.

    Swapping the channels is the first convolutions' work, since their kernels' channels can be put in another order at
    no cost. (Handing the pixels to an INT8 network as the codes that they are already was slower in OpenVINO, which
    then computes the first convolution in float.)

    :raises ValueError: the frames are not of the network's size.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if (preprocess.width, preprocess.height) != _size(result):
        raise ValueError(f"the graph takes {_size(result)}, not {(preprocess.width, preprocess.height)}")
    _reorder_first_kernels(graph)
    shape = [1, preprocess.height, preprocess.width, 3]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, shape))
    planes = f"{PIXELS}:planes"
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), f"{PIXELS}:scale"))
    # The Cast comes first: TensorRT takes uint8 at a network's input only.
    nodes = [
        helper.make_node("Cast", [PIXELS], [f"{PIXELS}:float"], name=f"{PIXELS}:float", to=TensorProto.FLOAT),
        helper.make_node("Transpose", [f"{PIXELS}:float"], [planes], name=planes, perm=[0, 3, 1, 2]),
        helper.make_node("Mul", [planes, f"{PIXELS}:scale"], [IMAGE], name=IMAGE),
    ]
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    return result


def _size(model: onnx.ModelProto) -> tuple[int, int]:
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    return dimensions[3].dim_value, dimensions[2].dim_value


def _set_size(value: Any, width: int, height: int) -> None:
    dimensions = value.type.tensor_type.shape.dim
    dimensions[2].dim_value, dimensions[3].dim_value = height, width


def _reorder_first_kernels(graph: Any) -> None:
    """Give every convolution of the image kernels for B, G, R in place of R, G, B."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    image = {IMAGE}
    source = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.input[0] in image and node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast"):
            image.add(node.output[0])
        elif node.op_type == "Conv" and node.input[0] in image:
            name = node.input[1]
            while name not in constants:  # behind a DequantizeLinear, or that and a Cast
                name = source[name].input[0]
            kernel = numpy_helper.to_array(constants[name])[:, ::-1]
            constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(kernel), name))
