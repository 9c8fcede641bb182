"""Mish as runtimes other than TensorRT want it.

The stored graphs have it in the form that TensorRT fuses into a convolution (`engine.onnx_graph`). OpenVINO knows
x tanh(softplus(x)) by sight and computes it within the convolution; in ONNX Runtime that is three operations, not six.
"""

from __future__ import annotations

import onnx
from onnx import helper

PARTS = (".2-s", ".u", ".xu", ".2-u")


def plain_mish(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a graph with every Mish as Softplus, Tanh and Mul."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    names = {node.name for node in graph.node}
    fusible = {name for name in names if all(f"{name}{part}" in names for part in (".s", *PARTS))}
    source = {node.name.removesuffix(".s"): node.input[0] for node in graph.node if node.name.endswith(".s")}
    nodes = []
    for node in graph.node:
        owner, dot, part = node.name.rpartition(".")
        if node.name in fusible:
            x, name = source[node.name], node.name
            nodes += [
                helper.make_node("Softplus", [x], [f"{name}.softplus"], name=f"{name}.softplus"),
                helper.make_node("Tanh", [f"{name}.softplus"], [f"{name}.tanh"], name=f"{name}.tanh"),
                helper.make_node("Mul", [x, f"{name}.tanh"], [node.output[0]], name=name),
            ]
        elif not (owner in fusible and f"{dot}{part}" in (".s", *PARTS)):
            nodes.append(node)
    read = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return result
