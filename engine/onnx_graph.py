"""A Darknet network as an ONNX graph: NCHW, batch norm folded, layers named after the cfg.

Input `image` is float32 (batch, 3, height, width), RGB, 0 to 1; outputs are `head_0`, `head_1`, ... in NCHW, the raw
channels that each [yolo] layer reads. Layers count from 0 without [net]: `convolutional_0`, `convolutional_0_leaky`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from engine.network import BN_EPSILON, Blur, Convolution, Layer, Network, Weights

OPSET = 19
"""The first whose QuantizeLinear takes float16, which TensorRT wants of a graph in half precision."""
IR_VERSION = 9
LEAKY_SLOPE = 0.1
IMAGE = "image"


def to_onnx(network: Network, weights: Weights, batch: int | str = 1) -> onnx.ModelProto:
    """Return the ONNX model.

    :param batch: pictures in a batch; a name makes it dynamic.
    """
    graph = _Graph()
    arrays = {c.index: entry for c, entry in zip(network.convolutions, weights.arrays, strict=True)}
    tensors: dict[int, str] = {-1: IMAGE}
    for layer in _leading_to_heads(network):
        inputs = [tensors[i] for i in layer.inputs]
        if layer.convolution is not None:
            tensors[layer.index] = _convolutional(graph, layer.convolution, arrays[layer.index], inputs[0])
        elif layer.kind == "shortcut":
            tensors[layer.index] = _shortcut(graph, layer, inputs, network, weights.fusions.get(layer.index))
        else:
            tensors[layer.index] = _EMITTERS[layer.kind](graph, layer, inputs, network)
    outputs = []
    for i, head in enumerate(network.heads):
        height, width, channels = network.layers[head.index].shape
        graph.add("Identity", [tensors[head.index]], f"head_{i}")
        outputs.append(helper.make_tensor_value_info(f"head_{i}", TensorProto.FLOAT, [batch, channels, height, width]))
    shape = [batch, network.channels, network.height, network.width]
    image = helper.make_tensor_value_info(IMAGE, TensorProto.FLOAT, shape)
    proto = helper.make_graph(graph.nodes, "yolo", [image], outputs, graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=IR_VERSION, producer_name="reticle")


def _leading_to_heads(network: Network) -> list[Layer]:
    """Return the layers that a head depends on, in the order of the cfg."""
    needed: set[int] = set()
    waiting = [head.index for head in network.heads]
    while waiting:
        index = waiting.pop()
        if index >= 0 and index not in needed:
            needed.add(index)
            waiting += network.layers[index].inputs
    return [layer for layer in network.layers if layer.index in needed]


class _Graph:
    """Collects nodes and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _convolutional(graph: _Graph, convolution: Convolution, arrays: dict[str, NDArray[np.float32]], source: str) -> str:
    name = f"convolutional_{convolution.index}"
    kernel, bias = folded(convolution, arrays)
    weights = [graph.constant(f"{name}.kernel", kernel), graph.constant(f"{name}.bias", bias)]
    graph.add(
        "Conv", [source, *weights], name, strides=list(convolution.strides), pads=[convolution.pad] * 4,
        group=convolution.groups, kernel_shape=[convolution.size] * 2, dilations=[convolution.dilation] * 2,
    )  # fmt: skip
    given = _activation(graph, f"{name}_{convolution.activation}", convolution.activation, name)
    return given if convolution.blur is None else _blur(graph, name, convolution.blur, convolution.filters, given)


def _blur(graph: _Graph, name: str, blur: Blur, channels: int, source: str) -> str:
    name = f"{name}_blur"
    weights = [graph.constant(f"{name}.kernel", blur.kernel(channels))]
    weights.append(graph.constant(f"{name}.bias", np.zeros(channels, np.float32)))
    return graph.add(
        "Conv", [source, *weights], name, strides=list(blur.strides), pads=[blur.pad] * 4, group=channels,
        kernel_shape=[blur.size] * 2,
    )  # fmt: skip


def folded(
    convolution: Convolution, arrays: dict[str, NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a convolution's kernel and bias with its batch norm folded in, both float32."""
    kernel, bias = arrays["kernel"].astype(np.float64), arrays["beta"].astype(np.float64)
    if convolution.batch_normalize:
        gamma, mean, variance = (arrays[key].astype(np.float64) for key in ("gamma", "mean", "variance"))
        scale = gamma / np.sqrt(variance + BN_EPSILON)
        kernel, bias = kernel * scale[:, None, None, None], -mean * scale + bias
    return np.ascontiguousarray(kernel, np.float32), bias.astype(np.float32)


def _activation(graph: _Graph, name: str, kind: str, x: str) -> str:
    if kind == "linear":
        return x
    if kind == "leaky":
        return graph.add("LeakyRelu", [x], name, alpha=LEAKY_SLOPE)
    if kind in _PLAIN:
        return graph.add(_PLAIN[kind], [x], name)
    if kind in _CLIPPED:
        bounds = (graph.constant(f"{name}.{i}", np.float32(v)) for i, v in enumerate(_CLIPPED[kind]))
        return graph.add("Clip", [x, *bounds], name)
    if kind == "hard_mish":  # x above 0, and x (x / 2 + 1) down to -2
        return graph.add("Mul", [x, graph.add("HardSigmoid", [x], f"{name}.gate", alpha=0.5, beta=1.0)], name)
    if kind == "swish":
        return graph.add("Mul", [x, graph.add("Sigmoid", [x], f"{name}.sigmoid")], name)
    assert kind == "mish", kind  # engine.darknet.ACTIVATIONS has no other
    return _mish(graph, name, x)


_PLAIN = {"logistic": "Sigmoid", "relu": "Relu", "elu": "Elu", "selu": "Selu", "tanh": "Tanh"}
_CLIPPED = {"relu6": (0.0, 6.0), "hardtan": (-1.0, 1.0)}


def _mish(graph: _Graph, name: str, x: str) -> str:
    """Mish in a form that runtimes fuse into the convolution before it: x u / (2 - u) with u = s (2 - s).

    With s the sigmoid of x it is x tanh(softplus(x)): tanh(ln(1 + e^x)) = ((1 + e^x)^2 - 1) / ((1 + e^x)^2 + 1),
    and (1 + e^x)^-1 = 1 - s. As Softplus and Tanh it stays a kernel of its own in TensorRT.
    """
    two = graph.constant(f"{name}.two", np.float32(2))
    s = graph.add("Sigmoid", [x], f"{name}.s")
    u = graph.add("Mul", [s, graph.add("Sub", [two, s], f"{name}.2-s")], f"{name}.u")
    xu = graph.add("Mul", [x, u], f"{name}.xu")
    return graph.add("Div", [xu, graph.add("Sub", [two, u], f"{name}.2-u")], name)


def _maxpool(graph: _Graph, layer: Layer, inputs: list[str], network: Network) -> str:
    pool, name, channels = layer.pool, f"{layer.kind}_{layer.index}", layer.shape[2]
    assert pool is not None
    if pool.depth:
        whole = network.layers[layer.inputs[0]].shape[2] if layer.inputs[0] >= 0 else network.channels
        parts = [_channels(graph, f"{name}.{i}", inputs[0], i, i + pool.depth) for i in range(0, whole, pool.depth)]
        return graph.add("Max", parts, name)
    kind, more = ("MaxPool", {}) if layer.kind == "maxpool" else ("AveragePool", {"count_include_pad": 0})
    given = graph.add(
        kind, inputs, name, kernel_shape=[pool.size] * 2, strides=list(pool.strides), pads=list(pool.pads), **more
    )
    return given if pool.blur is None else _blur(graph, name, pool.blur, channels, given)


def _avgpool(graph: _Graph, layer: Layer, inputs: list[str], network: Network) -> str:
    return graph.add("GlobalAveragePool", inputs, f"avgpool_{layer.index}")


def _product(graph: _Graph, layer: Layer, inputs: list[str], network: Network) -> str:
    name = f"{layer.kind}_{layer.index}"
    given = graph.add("Mul", inputs, name)
    return _activation(graph, f"{name}_{layer.activation}", layer.activation, given)


def _upsample(graph: _Graph, layer: Layer, inputs: list[str], network: Network) -> str:
    name, stride = f"upsample_{layer.index}", layer.section.whole("stride", 2)
    scales = graph.constant(f"{name}.scales", np.array([1, 1, stride, stride], np.float32))
    given = graph.add(
        "Resize", [inputs[0], "", scales], name, mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip
    scale = layer.section.real("scale", 1.0)
    return (
        given
        if scale == 1
        else graph.add("Mul", [given, graph.constant(f"{name}.scale", np.float32(scale))], f"{name}_scaled")
    )


def _route(graph: _Graph, layer: Layer, inputs: list[str], network: Network) -> str:
    groups, group = layer.section.whole("groups", 1), layer.section.whole("group_id", 0)
    name = f"route_{layer.index}"
    if groups > 1:
        channels = [network.layers[i].shape[2] // groups for i in layer.inputs]
        names = [name] if len(inputs) == 1 else [f"{name}_{i}" for i in range(len(inputs))]
        inputs = [
            _channels(graph, part, x, group * step, (group + 1) * step)
            for part, x, step in zip(names, inputs, channels, strict=True)
        ]
    return inputs[0] if len(inputs) == 1 else graph.add("Concat", inputs, name, axis=1)


def _channels(graph: _Graph, name: str, source: str, start: int, end: int) -> str:
    bounds = [
        graph.constant(f"{name}.{key}", np.array([value], np.int64))
        for key, value in (("start", start), ("end", end), ("axis", 1))
    ]
    return graph.add("Slice", [source, *bounds], name)


def _shortcut(
    graph: _Graph, layer: Layer, inputs: list[str], network: Network, weights: NDArray[np.float32] | None = None
) -> str:
    name = f"shortcut_{layer.index}"
    inputs = [
        _fitted(graph, f"{name}.in{i}", x, network.layers[index].shape[2], layer.shape[2])
        for i, (x, index) in enumerate(zip(inputs, layer.inputs, strict=True))
    ]
    if layer.fusion is not None:
        assert weights is not None
        shares = layer.fusion.shares(weights)
        inputs = [
            graph.add("Mul", [x, graph.constant(f"{name}.share{i}", share.reshape(1, -1, 1, 1))], f"{name}.part{i}")
            for i, (x, share) in enumerate(zip(inputs, shares, strict=True))
        ]
    total = inputs[0]
    for i, x in enumerate(inputs[1:], 2):
        total = graph.add("Add", [total, x], name if i == len(inputs) else f"{name}.{i}")
    return _activation(graph, f"{name}_{layer.activation}", layer.activation, total)


def _fitted(graph: _Graph, name: str, x: str, has: int, wanted: int) -> str:
    """Return a tensor with as many channels as are wanted: the first of them, or zeros behind them."""
    if has > wanted:
        return _channels(graph, name, x, 0, wanted)
    if has < wanted:
        pads = graph.constant(f"{name}.pads", np.array([0, 0, 0, 0, 0, wanted - has, 0, 0], np.int64))
        return graph.add("Pad", [x, pads], name)
    return x


def _same(graph: _Graph, layer: Layer, inputs: list[str], network: Network) -> str:
    return inputs[0]


_EMITTERS: dict[str, Callable[[_Graph, Layer, list[str], Network], str]] = {
    "maxpool": _maxpool,
    "local_avgpool": _maxpool,
    "avgpool": _avgpool,
    "sam": _product,
    "scale_channels": _product,
    "dropout": _same,
    "contrastive": _same,
    "empty": _same,
    "upsample": _upsample,
    "route": _route,
    "yolo": _same,
}
