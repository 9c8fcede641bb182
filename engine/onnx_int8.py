"""The weights of an INT8 graph on CPUs whose INT8 sums saturate.

Without VNNI (before AVX-512 VNNI and AVX-VNNI) x86 multiplies uint8 by int8 and adds two products, those of an even
channel and the next, into a signed 16-bit register (`vpmaddubsw`): 255 * 127 * 2 does not fit, and is cut to 32767 in
silence. Where the magnitudes of two such weights make no more than 128 no sum leaves the register: conversion sees to
that. Halving all weights, which NNCF calls its overflow fix, does for graphs that were made otherwise.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

PAIR = 128
"""The largest sum of the magnitudes of two weights whose products are added in 16 bits: 255 * 128 is within 32767."""
CHANNELS = 64
SATURATING = 127.0 * 255 * CHANNELS
"""What every output of `saturation_probe` is where no sum is cut, its input being 255."""


def narrow_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of an INT8 model in which no sum of two products saturates: kernels where one could are halved."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = {tensor.name: tensor for tensor in result.graph.initializer}
    for node in result.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        codes, scale = (constants[name] for name in node.input[:2])
        if _fits(numpy_helper.to_array(codes)):
            continue
        narrow = np.rint(numpy_helper.to_array(codes) / 2).astype(np.int8)
        codes.CopyFrom(numpy_helper.from_array(narrow, codes.name))
        scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(2), scale.name))
    return result


def _fits(codes: NDArray[np.int8]) -> bool:
    sizes = np.abs(codes.astype(np.int16))
    even = codes.ndim == 4 and codes.shape[1] % 2 == 0
    return bool((sizes[:, ::2] + sizes[:, 1::2]).max() <= PAIR if even else sizes.max() <= PAIR // 2)


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
