"""The Keras network as an ONNX graph: NCHW, batch norm folded, layers named as Keras names them.

It walks the functional model, so it needs no inference library and works on any Keras backend. Input
`image` is float32 (batch, 3, height, width), RGB, 0 to 1; outputs are `head_0`, `head_1`, ... in NCHW.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engine.errors import ModelError
from engine.network import ChannelGroup, YoloHead

OPSET = 19
"""The first whose QuantizeLinear takes float16, which TensorRT wants of a graph in half precision."""
IR_VERSION = 9


def to_onnx(model: keras.Model, batch: int | str = 1) -> onnx.ModelProto:
    """Return the ONNX model.

    :param batch: pictures in a batch; a name makes it dynamic.
    :raises ModelError: the model has a layer that a YOLO network does not.
    """
    graph = _Graph()
    _, height, width, channels = model.inputs[0].shape
    names = {id(model.inputs[0]): "image"}
    for operation in model.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        node = operation._inbound_nodes[0]
        emit = next((e for kind, e in _EMITTERS.items() if isinstance(operation, kind)), None)
        if emit is None:
            raise ModelError(f"the layer {operation.name} ({type(operation).__name__}) has no ONNX form here")
        names[id(node.output_tensors[0])] = emit(graph, operation, [names[id(x)] for x in node.input_tensors])
    outputs = []
    for i, tensor in enumerate(model.outputs):
        graph.add("Identity", [names[id(tensor)]], f"head_{i}")
        _, h, w, c = tensor.shape
        outputs.append(helper.make_tensor_value_info(f"head_{i}", TensorProto.FLOAT, [batch, c, h, w]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, channels, height, width])
    proto = helper.make_graph(graph.nodes, "yolo", [image], outputs, graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=IR_VERSION, producer_name="reticle")


class _Graph:
    """Nodes and constants as they gather."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.pads: dict[str, list[int]] = {}
        """Zero padding that the convolution reading this tensor takes over."""

    def add(self, kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _convolution(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    kernel, *bias = layer.get_weights()
    kernel = kernel.transpose(3, 2, 0, 1).astype(np.float64)
    offset = bias[0].astype(np.float64) if bias else np.zeros(len(kernel))
    normal = _following_batch_norm(layer)
    if normal is not None:
        gamma, beta, mean, variance = (w.astype(np.float64) for w in normal.get_weights())
        scale = gamma / np.sqrt(variance + normal.epsilon)
        kernel, offset = kernel * scale[:, None, None, None], (offset - mean) * scale + beta
    size, stride = layer.kernel_size, layer.strides
    if layer.padding == "same":
        pads = [size[0] // 2, size[1] // 2, (size[0] - 1) // 2, (size[1] - 1) // 2]
    else:
        pads = graph.pads.get(inputs[0], [0, 0, 0, 0])
    weights = [
        graph.constant(f"{layer.name}.kernel", np.ascontiguousarray(kernel, np.float32)),
        graph.constant(f"{layer.name}.bias", offset.astype(np.float32)),
    ]
    source = inputs[0].removesuffix(":padded")
    return graph.add(
        "Conv", [source, *weights], layer.name, strides=list(stride), pads=pads, group=layer.groups,
        kernel_shape=list(size),
    )  # fmt: skip


def _following_batch_norm(layer: Any) -> Any:
    followers = [node.operation for node in layer._outbound_nodes]
    if len(followers) == 1 and isinstance(followers[0], keras.layers.BatchNormalization):
        return followers[0]
    return None


def _batch_norm(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    return inputs[0]  # the convolution before it has taken it in


def _head(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    return inputs[0]


def _padding(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    (top, bottom), (left, right) = layer.padding
    name = f"{inputs[0]}:padded"
    graph.pads[name] = [top, left, bottom, right]
    return name


def _leaky(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    return graph.add("LeakyRelu", inputs, layer.name, alpha=float(layer.negative_slope))


def _activation(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    name, kind = layer.name, layer.activation.__name__
    x = inputs[0]
    if kind == "sigmoid":
        return graph.add("Sigmoid", [x], name)
    if kind == "relu":
        return graph.add("Relu", [x], name)
    if kind == "silu":
        return graph.add("Mul", [x, graph.add("Sigmoid", [x], f"{name}.sigmoid")], name)
    if kind == "mish":
        return _mish(graph, name, x)
    raise ModelError(f"the layer {name} has the activation {kind}, which has no ONNX form here")


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


def _pool(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    return graph.add(
        "MaxPool", inputs, layer.name, kernel_shape=list(layer.pool_size), strides=list(layer.strides),
        auto_pad="SAME_UPPER",
    )  # fmt: skip


def _upsample(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    scales = graph.constant(f"{layer.name}.scales", np.array([1, 1, *layer.size], np.float32))
    return graph.add(
        "Resize", [inputs[0], "", scales], layer.name, mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip


def _group(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    channels = layer._inbound_nodes[0].input_tensors[0].shape[-1]
    step = channels // layer.groups
    bounds = [
        graph.constant(f"{layer.name}.{key}", np.array([value], np.int64))
        for key, value in (("start", layer.group * step), ("end", (layer.group + 1) * step), ("axis", 1))
    ]
    return graph.add("Slice", [inputs[0], *bounds], layer.name)


def _concatenate(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    return graph.add("Concat", inputs, layer.name, axis=1)


def _add(graph: _Graph, layer: Any, inputs: list[str]) -> str:
    total = inputs[0]
    for i, x in enumerate(inputs[1:], 2):
        total = graph.add("Add", [total, x], layer.name if i == len(inputs) else f"{layer.name}.{i}")
    return total


_EMITTERS: dict[type, Callable[[_Graph, Any, list[str]], str]] = {
    keras.layers.Conv2D: _convolution,
    keras.layers.BatchNormalization: _batch_norm,
    keras.layers.ZeroPadding2D: _padding,
    keras.layers.LeakyReLU: _leaky,
    keras.layers.Activation: _activation,
    keras.layers.MaxPooling2D: _pool,
    keras.layers.UpSampling2D: _upsample,
    ChannelGroup: _group,
    keras.layers.Concatenate: _concatenate,
    keras.layers.Add: _add,
    YoloHead: _head,
}
