"""Decoding the heads within a network's ONNX graph: some hundred rows leave the runtime, and not all the cells."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.darknet import Head, Network

TOP = 300
"""Candidates that leave the graph."""


def with_postprocess(model: onnx.ModelProto, network: Network, top: int = TOP) -> onnx.ModelProto:
    """Return a copy of a graph that gives `boxes` (1, n, 4) xyxy and `scores` (1, n, classes) of its best candidates.

    A candidate's rank is its objectness times its most probable class. n is `top`, or as many as there are.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    nodes = _Nodes()
    parts = [
        nodes.rows(output.name, head, [d.dim_value for d in output.type.tensor_type.shape.dim])
        for head, output in zip(network.heads, graph.output, strict=True)
    ]
    grid = np.concatenate(
        [_grid(head, output, network) for head, output in zip(network.heads, graph.output, strict=True)]
    )
    new_coords = network.heads[0].new_coords
    rows = nodes.add("Concat", parts, axis=1) if len(parts) > 1 else parts[0]
    boxes, scores = nodes.select(rows, grid, min(top, len(grid)), new_coords)
    graph.node.extend([*nodes.nodes, *_renamed(boxes, "boxes"), *_renamed(scores, "scores")])
    graph.initializer.extend(nodes.constants)
    n = min(top, len(grid))
    del graph.output[:]
    graph.output.extend(
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, n, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, n, network.classes]),
        ]
    )
    return result


class _Nodes:
    """Collects the nodes that decode."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> Any:
        names = [f"decode_{len(self.nodes)}" + (f".{i}" if outputs > 1 else "") for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name=f"decode_{len(self.nodes)}", **attributes))
        return names if outputs > 1 else names[0]

    def constant(self, value: Any) -> str:
        name = f"decode_constant_{len(self.constants)}"
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
