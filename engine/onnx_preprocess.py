"""Preparing pixels within a network's ONNX graph: a frame goes in as it was grabbed, uint8, BGR, channels last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.onnx_canonical import SWAPPED
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


def batch_of(model: onnx.ModelProto) -> int | str:
    """Return how many pictures a network's graph takes at once, a name where that is any."""
    dimension = model.graph.input[0].type.tensor_type.shape.dim[0]
    return dimension.dim_param or int(dimension.dim_value)


def set_batch(model: onnx.ModelProto, batch: int | str) -> None:
    """Have a Darknet network's graph take another number of pictures at once, in place; a name stands for any."""
    for end in (model.graph.input[0], *model.graph.output):
        dimension = end.type.tensor_type.shape.dim[0]
        dimension.Clear()
        if isinstance(batch, str):
            dimension.dim_param = batch
        else:
            dimension.dim_value = batch


def with_preprocess(model: onnx.ModelProto, preprocess: Preprocess) -> onnx.ModelProto:
    """Return a copy of a network's graph that takes `pixels` in place of `image`.

    Swapping the channels is the first convolutions' work, since their kernels' channels can be put in another order at
    no cost; a network that takes BGR gets what it takes, and only one that does something else to the picture first has
    it swapped. (Handing the pixels to an INT8 network as the codes that they are already was slower in OpenVINO, which
    then computes the first convolution in float.)

    :raises ValueError: the frames are not of the network's size.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    if (preprocess.width, preprocess.height) != _size(result):
        raise ValueError(f"the graph takes {_size(result)}, not {(preprocess.width, preprocess.height)}")
    swap = _as_they_come(graph)
    shape = [1, preprocess.height, preprocess.width, 3]
    graph.input[0].CopyFrom(helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, shape))
    planes = f"{PIXELS}:planes"
    graph.initializer.append(numpy_helper.from_array(np.float32(1 / 255), f"{PIXELS}:scale"))
    # The Cast comes first: TensorRT takes uint8 at a network's input only.
    nodes = [
        helper.make_node("Cast", [PIXELS], [f"{PIXELS}:float"], name=f"{PIXELS}:float", to=TensorProto.FLOAT),
        helper.make_node("Transpose", [f"{PIXELS}:float"], [planes], name=planes, perm=[0, 3, 1, 2]),
        helper.make_node("Mul", [planes, f"{PIXELS}:scale"], [f"{IMAGE}:bgr" if swap else IMAGE], name=IMAGE),
    ]
    if swap:
        graph.initializer.append(numpy_helper.from_array(np.array([2, 1, 0], np.int64), f"{PIXELS}:order"))
        swapped = f"{IMAGE}:rgb"
        nodes.append(helper.make_node("Gather", [f"{IMAGE}:bgr", f"{PIXELS}:order"], [IMAGE], name=swapped, axis=1))
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


def _as_they_come(graph: Any) -> bool:
    """Let the graph take B, G, R in place of R, G, B; return whether the pixels must be swapped all the same."""
    swap = next((node for node in graph.node if node.name == SWAPPED), None)
    if swap is not None:
        graph.node.remove(swap)
        for node in graph.node:
            node.input[:] = [swap.input[0] if name == SWAPPED else name for name in node.input]
        return False
    image = {IMAGE}
    for node in graph.node:
        if not image.intersection(node.input):
            continue
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast"):
            image.add(node.output[0])
        elif node.op_type != "Conv" or any(a.name == "group" and a.i > 1 for a in node.attribute):
            return True
    _reorder_first_kernels(graph)
    return False


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
