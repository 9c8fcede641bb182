"""What may stand before and after a network in its ONNX graph, so that a frame goes in as it is grabbed.

The front takes uint8 pixels, BGR or BGRA, channels last, at any size, and makes `image` of them. The back decodes the
heads and keeps the best candidates, so that some hundred rows leave the runtime's memory and not all the cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.darknet import Head, Network

IMAGE = "image"
PIXELS = "pixels"
TOP = 300
"""Candidates that the back keeps."""
GREY = 0.5


@dataclass(frozen=True)
class Front:
    """The frames that a graph takes: uint8 (1, height, width, channels), BGR or BGRA.

    `letterbox` keeps a frame's proportions where its size is not the network's, and fills the rest with grey.
    """

    height: int
    width: int
    channels: int = 3
    letterbox: bool = False


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


def with_front(model: onnx.ModelProto, front: Front) -> onnx.ModelProto:
    """Return a copy of a network's graph that takes `pixels` in place of `image`.

    Swapping the channels and dropping alpha are the first convolutions' work, since their kernels' channels can be
    put in another order and given a zero at no cost. (Handing the pixels to an INT8 network as the codes that they are
    already was slower in OpenVINO, which then computes the first convolution in float.)
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    width, height = _size(result)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    _reorder_first_kernels(graph, constants, front.channels)
    pixels = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, [1, front.height, front.width, front.channels])
    graph.input[0].CopyFrom(pixels)
    same_size = (front.width, front.height) == (width, height)
    planes = f"{PIXELS}:planes"
    target = IMAGE if same_size else f"{IMAGE}:first"
    added = [numpy_helper.from_array(np.float32(1 / 255), f"{PIXELS}:scale")]
    # The Cast comes first: TensorRT takes uint8 at a network's input only.
    nodes = [
        helper.make_node("Cast", [PIXELS], [f"{PIXELS}:float"], name=f"{PIXELS}:float", to=TensorProto.FLOAT),
        helper.make_node("Transpose", [f"{PIXELS}:float"], [planes], name=planes, perm=[0, 3, 1, 2]),
        helper.make_node("Mul", [planes, f"{PIXELS}:scale"], [target], name=target),
    ]
    if not same_size:
        nodes += _resize(target, front, (width, height), added)
    graph.initializer.extend(added)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    return result


def with_back(model: onnx.ModelProto, network: Network, top: int = TOP) -> onnx.ModelProto:
    """Return a copy of a graph that gives `boxes` (1, n, 4) xyxy and `scores` (1, n, classes) of its best candidates.

    A candidate's rank is its objectness times its most probable class. n is `top`, or as many as there are.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    back = _Back()
    parts = [
        back.rows(output.name, head, [d.dim_value for d in output.type.tensor_type.shape.dim])
        for head, output in zip(network.heads, graph.output, strict=True)
    ]
    grid = np.concatenate(
        [_grid(head, output, network) for head, output in zip(network.heads, graph.output, strict=True)]
    )
    new_coords = network.heads[0].new_coords
    rows = back.add("Concat", parts, axis=1) if len(parts) > 1 else parts[0]
    boxes, scores = back.select(rows, grid, min(top, len(grid)), new_coords)
    graph.node.extend([*back.nodes, *_renamed(boxes, "boxes"), *_renamed(scores, "scores")])
    graph.initializer.extend(back.constants)
    n = min(top, len(grid))
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, n, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, n, network.classes]),
        ]
    )
    return result


def _size(model: onnx.ModelProto) -> tuple[int, int]:
    dimensions = model.graph.input[0].type.tensor_type.shape.dim
    return dimensions[3].dim_value, dimensions[2].dim_value


def _set_size(value: Any, width: int, height: int) -> None:
    dimensions = value.type.tensor_type.shape.dim
    dimensions[2].dim_value, dimensions[3].dim_value = height, width


def _reorder_first_kernels(graph: Any, constants: dict[str, Any], channels: int) -> None:
    """Give every convolution of the image kernels for B, G, R (and nothing of alpha) in place of R, G, B."""
    image = {IMAGE}
    made_by = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        if node.input[0] in image and node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast"):
            image.add(node.output[0])
        elif node.op_type == "Conv" and node.input[0] in image:
            name = node.input[1]
            while name not in constants:  # behind a DequantizeLinear, or that and a Cast
                name = made_by[name].input[0]
            kernel = numpy_helper.to_array(constants[name])[:, ::-1]
            if channels == 4:
                kernel = np.concatenate((kernel, np.zeros_like(kernel[:, :1])), axis=1)
            constants[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(kernel), name))


def _resize(source: str, front: Front, size: tuple[int, int], constants: list[Any]) -> list[onnx.NodeProto]:
    """Return nodes that bring the frame to the network's size as OpenCV's bilinear resize does."""
    left, top, width, height = placed(front, size)
    target = IMAGE if (width, height) == size else f"{IMAGE}:part"
    constants.append(numpy_helper.from_array(np.array([1, front.channels, height, width], np.int64), f"{IMAGE}:sizes"))
    nodes = [
        helper.make_node(
            "Resize", [source, "", "", f"{IMAGE}:sizes"], [target], name=target, mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
    ]  # fmt: skip
    if target != IMAGE:
        pads = [0, 0, top, left, 0, 0, size[1] - top - height, size[0] - left - width]
        constants.append(numpy_helper.from_array(np.array(pads, np.int64), f"{IMAGE}:pads"))
        constants.append(numpy_helper.from_array(np.float32(GREY), f"{IMAGE}:grey"))
        nodes.append(helper.make_node("Pad", [target, f"{IMAGE}:pads", f"{IMAGE}:grey"], [IMAGE], name=IMAGE))
    return nodes


def placed(front: Front, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return where a frame lies in the network's input: left, top, width, height, pixels."""
    if not front.letterbox:
        return 0, 0, *size
    scale = min(size[0] / front.width, size[1] / front.height)
    width, height = max(1, round(front.width * scale)), max(1, round(front.height * scale))
    return (size[0] - width) // 2, (size[1] - height) // 2, width, height


class _Back:
    """The nodes that decode, as they gather."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> Any:
        names = [f"back_{len(self.nodes)}" + (f".{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"back_{len(self.nodes)}", **attributes))
        return names if outputs > 1 else names[0]

    def constant(self, value: Any) -> str:
        name = f"back_constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def rows(self, name: str, head: Head, shape: list[int]) -> str:
        """Return a head's cells as rows, (1, anchors * h * w, 5 + classes)."""
        _, _, height, width = shape
        anchors, fields = len(head.anchors), 5 + head.classes
        split = self.add("Reshape", [name, self.constant(np.array([1, anchors, fields, height * width], np.int64))])
        turned = self.add("Transpose", [split], perm=[0, 1, 3, 2])
        return self.add("Reshape", [turned, self.constant(np.array([1, -1, fields], np.int64))])

    def select(self, rows: str, grid: NDArray[np.float32], n: int, new_coords: bool) -> tuple[str, str]:
        """Return boxes and scores of the best rows."""
        bounds = ((0, 2), (2, 4), (4, 5), (5, 1 << 30))
        xy, wh, objectness, classes = (self._slice(rows, *bound) for bound in bounds)
        best = self.add("ReduceMax", [classes, self.constant(np.array([2], np.int64))], keepdims=1)
        rank = self.add("Mul", [self._probability(objectness, new_coords), self._probability(best, new_coords)])
        rank = self.add("Reshape", [rank, self.constant(np.array([1, -1], np.int64))])
        _, index = self.add("TopK", [rank, self.constant(np.array([n], np.int64))], 2, axis=1)
        index = self.add("Reshape", [index, self.constant(np.array([-1], np.int64))])
        xy, wh, objectness, classes = (self.add("Gather", [x, index], axis=1) for x in (xy, wh, objectness, classes))
        cells = self.add("Gather", [self.constant(grid[None]), index], axis=1)
        # A row of the grid: cell x and y, stride x and y, anchor width and height, and the scale of x and y.
        corner, stride, anchor, scale = (self._slice(cells, i, i + 2) for i in (0, 2, 4, 6))
        half, one = self.constant(np.float32(0.5)), self.constant(np.float32(1))
        if new_coords:
            doubled = self.add("Add", [wh, wh])
            wh = self.add("Mul", [self.add("Mul", [doubled, doubled]), anchor])
        else:
            xy = self.add("Sigmoid", [xy])
            limited = self.add("Min", [wh, self.constant(np.float32(20))])
            wh = self.add("Mul", [self.add("Exp", [limited]), anchor])
        shift = self.add("Mul", [self.add("Sub", [scale, one]), half])
        xy = self.add("Sub", [self.add("Mul", [xy, scale]), shift])
        xy = self.add("Mul", [self.add("Add", [xy, corner]), stride])
        wh = self.add("Mul", [wh, half])
        boxes = self.add("Concat", [self.add("Sub", [xy, wh]), self.add("Add", [xy, wh])], axis=2)
        scores = self.add("Mul", [self._probability(objectness, new_coords), self._probability(classes, new_coords)])
        return boxes, scores

    def _slice(self, x: str, start: int, end: int) -> str:
        bounds = [self.constant(np.array([v], np.int64)) for v in (start, end, 2)]
        return self.add("Slice", [x, *bounds])

    def _probability(self, x: str, new_coords: bool) -> str:
        # With new_coords the convolution before the head is logistic already.
        return x if new_coords else self.add("Sigmoid", [x])


def _grid(head: Head, output: Any, network: Network) -> NDArray[np.float32]:
    """Return (anchors * h * w, 8): what decoding a row needs to know of its cell."""
    _, _, height, width = (d.dim_value for d in output.type.tensor_type.shape.dim)
    y, x = np.mgrid[:height, :width]
    cells = np.stack((x, y), axis=-1).reshape(-1, 2)
    parts = []
    for anchor in head.anchors:
        fixed = (network.width / width, network.height / height, *anchor, head.scale_x_y, head.scale_x_y)
        parts.append(np.concatenate((cells, np.broadcast_to(fixed, (len(cells), 6))), axis=1))
    return np.concatenate(parts).astype(np.float32)


def _renamed(source: str, target: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Identity", [source], [target], name=target)]
