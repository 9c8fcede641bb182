"""Weights of 7 and of 8 bits in an INT8 graph, since the INT8 sums of some CPUs saturate.

Without VNNI (before AVX-512 VNNI and AVX-VNNI) x86 multiplies uint8 by int8 and adds two products into a signed 16-bit
register (`vpmaddubsw`): 255 * 127 * 2 does not fit, and is cut to 32767 in silence. With weights from -64 to 64 no sum
of two products can leave the register. NNCF calls the same remedy its overflow fix.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 64
SATURATING = 127.0 * 255 * CHANNELS
"""What every output of `saturation_probe` is where no sum is cut, its input being 255."""


def narrow_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of an INT8 model whose weights' codes lie within -64 to 64; larger ones are halved."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    for node in result.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        codes, scale = (constants[name] for name in node.input[:2])
        if np.abs(numpy_helper.to_array(codes).astype(np.int16)).max() <= 64:
            continue
        narrow = np.rint(numpy_helper.to_array(codes) / 2).astype(np.int8)
        codes.CopyFrom(numpy_helper.from_array(narrow, codes.name))
        scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(2), scale.name))
    return result


def with_weights_of(model: onnx.ModelProto, other: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of an INT8 model with the weights and biases of another that has the same convolutions.

    A convolution that is float in one of them stays as it is in the first.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    theirs = {tensor.name: tensor for tensor in other.graph.initializer}
    mine = {tensor.name: tensor for tensor in result.graph.initializer}
    for node in result.graph.node:
        quantized = node.op_type == "Conv" and node.input[1].endswith(":dq")
        names = [node.input[1].removesuffix("dq") + part for part in ("q", "scale")] if quantized else []
        if quantized and all(name in theirs for name in names):
            for name in (*names, *node.input[2:]):
                mine[name].CopyFrom(theirs[name])
    return result


def saturation_probe() -> bytes:
    """Return an INT8 convolution in ONNX that saturates wherever this CPU's sums can.

    Its input is float32 (1, CHANNELS, 8, 8), its output as large; codes and weights are equal to what they stand for.
    """
    one = numpy_helper.from_array(np.float32(1), "one")
    zero = numpy_helper.from_array(np.uint8(0), "zero")
    weights = numpy_helper.from_array(np.full((CHANNELS, CHANNELS, 1, 1), 127, np.int8), "weights")
    scales = numpy_helper.from_array(np.ones(CHANNELS, np.float32), "scales")
    zeros = numpy_helper.from_array(np.zeros(CHANNELS, np.int8), "zeros")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["codes"]),
        helper.make_node("DequantizeLinear", ["codes", "one", "zero"], ["read"]),
        helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["kernel"], axis=0),
        helper.make_node("Conv", ["read", "kernel"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, CHANNELS, 8, 8)) for name in "xy")
    graph = helper.make_graph(nodes, "saturation", [x], [y], [one, zero, weights, scales, zeros])
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
