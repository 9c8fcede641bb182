"""A Darknet network as a Keras 3 model, on any backend.

Layers are named after the cfg: `convolutional_0`, `convolutional_0_bn`, `route_3`, counted from 0 without
[net]. The model takes float32 RGB, 0 to 1, (batch, height, width, 3), and gives each head's raw channels,
(batch, h, w, anchors * (5 + classes)), in the order of the cfg.
"""

from __future__ import annotations

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from typing import Any

import keras
import numpy as np

from engine.network import BN_EPSILON, Blur, Layer, Network, Pool, Weights
from engine.onnx_graph import LEAKY_SLOPE

LOWEST = -1e30
"""What a maximum never is."""


@keras.saving.register_keras_serializable("reticle")
class ChannelGroup(keras.layers.Layer):  # type: ignore[misc]
    """The `group`-th of `groups` equal parts of the channels: Darknet's route with groups."""

    def __init__(self, groups: int, group: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.groups = groups
        self.group = group

    def call(self, x: Any) -> Any:
        """Return the slice."""
        step = x.shape[-1] // self.groups
        return x[..., self.group * step : (self.group + 1) * step]

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the same shape with fewer channels."""
        channels = input_shape[-1]
        assert channels is not None
        return (*input_shape[:-1], channels // self.groups)

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        return {**super().get_config(), "groups": self.groups, "group": self.group}


@keras.saving.register_keras_serializable("reticle")
class YoloHead(keras.layers.Layer):  # type: ignore[misc]
    """Darknet's [yolo]: gives its input, and keeps the cfg with the model wherever that is saved."""

    def __init__(self, cfg: str = "", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cfg = cfg

    def call(self, x: Any) -> Any:
        """Return the input."""
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the same shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes the layer again."""
        return {**super().get_config(), "cfg": self.cfg}


def backend() -> str:
    """Return the backend that Keras runs on in this process."""
    return str(keras.backend.backend())


def build(network: Network, weights: Weights) -> keras.Model:
    """Return the Keras model with its weights set."""
    model = build_untrained(network)
    load(model, network, weights)
    return model


def build_untrained(network: Network) -> keras.Model:
    """Return the Keras model with Keras's initial weights."""
    image = keras.Input((network.height, network.width, network.channels), name="image")
    outputs: list[Any] = []

    def output(index: int) -> Any:
        return image if index < 0 else outputs[index]

    for layer in network.layers:
        outputs.append(_LAYERS[layer.kind](layer, [output(i) for i in layer.inputs]))
    heads = [
        YoloHead("" if i else network.text, name=f"yolo_{head.index}")(outputs[head.index])
        for i, head in enumerate(network.heads)
    ]
    return keras.Model(image, heads, name="yolo")


def load(model: keras.Model, network: Network, weights: Weights) -> None:
    """Set the weights of a model that `build_untrained` made."""
    names = {layer.name for layer in model.layers}
    for convolution, arrays in zip(network.convolutions, weights.arrays, strict=True):
        name = f"convolutional_{convolution.index}"
        if name not in names:  # it leads to no head, so it is not in the model
            continue
        kernel = np.ascontiguousarray(arrays["kernel"].transpose(2, 3, 1, 0))
        if convolution.batch_normalize:
            model.get_layer(name).set_weights([kernel])
            normal = [arrays[key] for key in ("gamma", "beta", "mean", "variance")]
            model.get_layer(f"{name}_bn").set_weights(normal)
        else:
            model.get_layer(name).set_weights([kernel, arrays["beta"]])


def unload(model: keras.Model, network: Network) -> Weights:
    """Return the weights of a model that `build_untrained` made, as Darknet keeps them."""
    arrays = []
    for convolution in network.convolutions:
        name = f"convolutional_{convolution.index}"
        kernel, *bias = model.get_layer(name).get_weights()
        entry = {"kernel": np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))}
        if convolution.batch_normalize:
            normal = model.get_layer(f"{name}_bn").get_weights()
            entry |= dict(zip(("gamma", "beta", "mean", "variance"), normal, strict=True))
        else:
            entry["beta"] = bias[0]
        arrays.append(entry)
    return Weights(arrays)


def _convolutional(layer: Layer, inputs: list[Any]) -> Any:
    convolution = layer.convolution
    assert convolution is not None
    name = f"convolutional_{layer.index}"
    x = inputs[0]
    # Darknet pads both sides alike; Keras's "same" does that too at stride 1 and odd size only.
    same = convolution.strides == (1, 1) and convolution.pad == convolution.size // 2 and convolution.size % 2
    if convolution.pad and not same:
        x = keras.layers.ZeroPadding2D(convolution.pad, name=f"{name}_pad")(x)
    x = keras.layers.Conv2D(
        convolution.filters,
        convolution.size,
        strides=convolution.strides,
        padding="same" if same else "valid",
        dilation_rate=convolution.dilation,
        groups=convolution.groups,
        use_bias=not convolution.batch_normalize,
        name=name,
    )(x)
    if convolution.batch_normalize:
        x = keras.layers.BatchNormalization(epsilon=BN_EPSILON, name=f"{name}_bn")(x)
    x = _activate(convolution.activation, x, f"{name}_{convolution.activation}")
    return x if convolution.blur is None else _blur(convolution.blur, x)


def _activate(kind: str, x: Any, name: str) -> Any:
    if kind == "linear":
        return x
    if kind == "leaky":
        return keras.layers.LeakyReLU(negative_slope=LEAKY_SLOPE, name=name)(x)
    if kind == "hard_mish":
        return keras.ops.multiply(x, keras.ops.clip(x * 0.5 + 1, 0, 1))
    keras_name = {"logistic": "sigmoid", "swish": "silu", "hardtan": "hard_tanh"}.get(kind, kind)
    return keras.layers.Activation(keras_name, name=name)(x)


def _blur(blur: Blur, x: Any) -> Any:
    """Return the weighed sum of the cells around each; slices, since not every backend strides unevenly by depth."""
    edges = (blur.pad, blur.pad)
    height, width = blur.shape(x.shape[1:])[:2]
    x = keras.ops.pad(x, ((0, 0), edges, edges, (0, 0)))
    down, across = blur.strides
    weights = blur.kernel(1)[0, 0]
    parts = [
        x[:, i : i + (height - 1) * down + 1 : down, j : j + (width - 1) * across + 1 : across] * float(weight)
        for (i, j), weight in np.ndenumerate(weights)
    ]
    return sum(parts[1:], parts[0])


def _maxpool(layer: Layer, inputs: list[Any]) -> Any:
    pool, x, name = layer.pool, inputs[0], f"{layer.kind}_{layer.index}"
    assert pool is not None
    height, width, channels = x.shape[1:]
    if pool.depth:
        return keras.ops.max(keras.ops.reshape(x, (-1, height, width, channels // pool.depth, pool.depth)), axis=3)
    kind = keras.layers.MaxPooling2D if layer.kind == "maxpool" else keras.layers.AveragePooling2D
    if _pads_as_same(pool, (height, width)):
        x = kind(pool.size, pool.strides, padding="same", name=name)(x)
    else:
        top, left, bottom, right = pool.pads
        edges = ((0, 0), (top, bottom), (left, right), (0, 0))
        average = kind(pool.size, pool.strides, name=name)
        if layer.kind == "maxpool":
            x = average(keras.ops.pad(x, edges, constant_values=LOWEST))
        else:  # the mean of the cells that there are
            whole = average(keras.ops.pad(keras.ops.ones_like(x), edges))
            x = average(keras.ops.pad(x, edges)) / whole
    return x if pool.blur is None else _blur(pool.blur, x)


def _pads_as_same(pool: Pool, sides: tuple[int, int]) -> bool:
    """Tell whether Keras's "same", which pads by what is needed, comes to the pool's own padding."""
    for side, stride, before, after in zip(sides, pool.strides, pool.pads[:2], pool.pads[2:], strict=True):
        needed = max((-(-side // stride) - 1) * stride + pool.size - side, 0)
        out = (side + before + after - pool.size) // stride + 1
        if out != -(-side // stride) or needed // 2 != before:
            return False
    return True


def _avgpool(layer: Layer, inputs: list[Any]) -> Any:
    return keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"avgpool_{layer.index}")(inputs[0])


def _product(layer: Layer, inputs: list[Any]) -> Any:
    name = f"{layer.kind}_{layer.index}"
    given = keras.layers.Multiply(name=name)(inputs)
    return _activate(layer.activation, given, f"{name}_{layer.activation}")


def _upsample(layer: Layer, inputs: list[Any]) -> Any:
    stride = layer.section.whole("stride", 2)
    given = keras.layers.UpSampling2D(stride, name=f"upsample_{layer.index}")(inputs[0])
    scale = layer.section.real("scale", 1.0)
    return given if scale == 1 else given * scale


def _route(layer: Layer, inputs: list[Any]) -> Any:
    groups, group = layer.section.whole("groups", 1), layer.section.whole("group_id", 0)
    name = f"route_{layer.index}"
    if groups > 1:
        inputs = [
            ChannelGroup(groups, group, name=name if len(inputs) == 1 else f"{name}_{i}")(x)
            for i, x in enumerate(inputs)
        ]
    return inputs[0] if len(inputs) == 1 else keras.layers.Concatenate(name=name)(inputs)


def _shortcut(layer: Layer, inputs: list[Any]) -> Any:
    if layer.fusion is not None:
        raise layer.section.error("has weights, which Keras's form of a network lacks; choose another engine")
    name, channels = f"shortcut_{layer.index}", layer.shape[2]
    given = keras.layers.Add(name=name)([_fitted(x, channels) for x in inputs])
    return _activate(layer.activation, given, f"{name}_{layer.activation}")


def _fitted(x: Any, channels: int) -> Any:
    """Return a tensor with as many channels: the first of them, or zeros behind them."""
    has = x.shape[-1]
    if has >= channels:
        return x if has == channels else x[..., :channels]
    return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, channels - has)))


def _same(layer: Layer, inputs: list[Any]) -> Any:
    return inputs[0]


_LAYERS = {
    "convolutional": _convolutional,
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
    "shortcut": _shortcut,
    "yolo": _same,
}
