"""Small ONNX detectors made here, in the layouts that exporters write.

A network is a picture's mean colour and a table of what it "finds": outputs are a constant plus zero times the picture,
so that what a reader makes of them is known to the last digit. `convolving` puts real layers before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

SIZE = (96, 64)
"""Width and height."""
CELLS = sum((SIZE[0] // s) * (SIZE[1] // s) for s in (8, 16, 32))
CLASSES = 3
KINDS = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.float16): TensorProto.FLOAT16,
         np.dtype(np.int64): TensorProto.INT64}  # fmt: skip


def constant_network(
    path: Path,
    outputs: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
    sizes: bool = False,
    dynamic: bool = False,
    kind: type = np.float32,
    name: str = "images",
    opset: int = 17,
) -> Path:
    """Write a network that gives the same outputs whatever it sees.

    :param sizes: it has the second input of a deployed DETR, and multiplies its boxes with it.
    :param kind: float32 or float16.
    """
    nodes = [
        helper.make_node("ReduceMean", [name], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "mean"], ["nothing"]),
    ]
    constants = []
    for output, value in outputs.items():
        constants.append(numpy_helper.from_array(value, f"{output}:value"))
        zero = "nothing"
        if value.dtype != kind:
            zero = f"{output}:zero"
            nodes.append(helper.make_node("Cast", ["nothing"], [zero], to=KINDS[value.dtype]))
        if sizes and output == "boxes":
            nodes += [
                helper.make_node("Cast", ["orig_target_sizes"], ["size"], to=KINDS[value.dtype]),
                helper.make_node("Concat", ["size", "size"], ["both"], axis=1),
                helper.make_node("Mul", [f"{output}:value", "both"], ["scaled"]),
                helper.make_node("Add", ["scaled", zero], [output]),
            ]
        else:
            nodes.append(helper.make_node("Add", [f"{output}:value", zero], [output]))
    dims = ["batch", 3, "height", "width"] if dynamic else [1, 3, SIZE[1], SIZE[0]]
    inputs = [helper.make_tensor_value_info(name, KINDS[np.dtype(kind)], dims)]
    if sizes:
        inputs.append(helper.make_tensor_value_info("orig_target_sizes", TensorProto.INT64, ["batch", 2]))
    given = [helper.make_tensor_value_info(n, KINDS[v.dtype], v.shape) for n, v in outputs.items()]
    graph = helper.make_graph(nodes, "constant", inputs, given, constants)
    return save(path, graph, metadata, opset)


def save(path: Path, graph: onnx.GraphProto, metadata: Mapping[str, str] | None = None, opset: int = 17) -> Path:
    """Write a model with metadata."""
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, dict(metadata or {}))
    path.write_bytes(model.SerializeToString())
    return path


def convolving(path: Path, opset: int = 17, seed: int = 0, bgr: bool = True) -> Path:
    """Write a small YOLOX with raw heads: SiLU, a depthwise convolution, one without a bias, one used twice."""
    rng = np.random.default_rng(seed)
    constants: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def const(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def conv(
        x: str, out: int, into: int, stride: int, name: str, group: int = 1, act: bool = True, bias: bool = True
    ) -> str:
        side = 3 if act else 1
        kernel = rng.normal(0, (2 / (into / group * side * side)) ** 0.5, (out, into // group, side, side))
        inputs = [x, const(f"{name}.w", kernel.astype(np.float32))]
        if bias:
            inputs.append(const(f"{name}.b", np.zeros(out, np.float32)))
        pads, strides = [side // 2] * 4, [stride] * 2
        nodes.append(helper.make_node("Conv", inputs, [name], pads=pads, strides=strides, group=group))
        if not act:
            return name
        nodes.append(helper.make_node("Sigmoid", [name], [f"{name}.s"]))
        nodes.append(helper.make_node("Mul", [name, f"{name}.s"], [f"{name}.y"]))
        return f"{name}.y"

    x = "images"
    if bgr:  # numbers from 0 to 255, as YOLOX's are
        nodes.append(helper.make_node("Mul", [x, const("scale", np.float32(1 / 255))], ["unit"]))
        x = "unit"
    x = conv(x, 8, 3, 2, "stem")
    x = conv(x, 16, 8, 2, "down", bias=False)
    x = conv(x, 16, 16, 1, "depthwise", group=16)
    for i in range(2):
        y = helper.make_node("Conv", [x, "shared.w", "shared.b"], [f"shared{i}"], pads=[0] * 4, strides=[1, 1])
        nodes.append(y)
        x = f"shared{i}"
    const("shared.w", rng.normal(0, 0.25, (16, 16, 1, 1)).astype(np.float32))
    const("shared.b", np.zeros(16, np.float32))
    tables = []
    for i in range(3):
        x = conv(x, 16, 16, 2, f"stage{i}")
        parts = [conv(x, 4, 16, 1, f"reg{i}", act=False)]
        for what, depth in (("obj", 1), ("cls", CLASSES)):
            raw = conv(x, depth, 16, 1, f"{what}{i}", act=False)
            nodes.append(helper.make_node("Sigmoid", [raw], [f"{raw}.p"]))
            parts.append(f"{raw}.p")
        nodes.append(helper.make_node("Concat", parts, [f"head{i}"], axis=1))
        shape = const(f"shape{i}", np.array([1, 5 + CLASSES, -1], np.int64))
        nodes.append(helper.make_node("Reshape", [f"head{i}", shape], [f"rows{i}"]))
        tables.append(f"rows{i}")
    nodes.append(helper.make_node("Concat", tables, ["all"], axis=2))
    nodes.append(helper.make_node("Transpose", ["all"], ["output"], perm=[0, 2, 1]))
    image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE[1], SIZE[0]])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, CELLS, 5 + CLASSES])
    graph = helper.make_graph(nodes, "convolving", [image], [output], constants)
    return save(path, graph, None, opset)


def centred(boxes: Sequence[Sequence[float]]) -> NDArray[np.float32]:
    """Return cxcywh of xyxy."""
    b = np.array(boxes, np.float32)
    return np.concatenate(((b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]), axis=1)
