"""The same networks by PyTorch (channels last, half precision, a CUDA graph) and by JAX's XLA, for benchmarks/gpu.py.

Both are the network alone, its input on the card, its outputs left there: what a careful user of each would write.
XLA is also what TensorFlow compiles with. Plain YOLOv4 layers are known, no others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from core.errors import UserError
from engine.engine import Model
from engine.network import Layer, Network
from engine.onnx_graph import folded

Ops = Mapping[str, Callable[..., Any]]


def torch_network(model: Model, half: bool) -> Callable[[], object]:
    """Return what replays the network as PyTorch's CUDA graph, and waits for it."""
    import torch
    from torch.nn import functional

    torch.backends.cudnn.benchmark = True
    dtype = torch.float16 if half else torch.float32

    def on_card(array: Any) -> Any:
        tensor = torch.from_numpy(array).to("cuda", dtype)
        return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

    def convolve(x: Any, kernel: Any, bias: Any, layer: Layer) -> Any:
        c = layer.convolution
        assert c is not None
        return functional.conv2d(x, kernel, bias, c.strides, c.pad, c.dilation, c.groups)

    def pool(x: Any, size: int, strides: Any, pads: Any) -> Any:
        top, left, bottom, right = pads
        if (top, left) != (bottom, right) or top > size // 2:
            x, top, left = functional.pad(x, (left, right, top, bottom), value=float("-inf")), 0, 0
        return functional.max_pool2d(x, size, strides, (top, left))

    ops = {
        "convolve": convolve, "pool": pool,
        "leaky": lambda x: functional.leaky_relu(x, 0.1, inplace=True),
        "mish": lambda x: functional.mish(x, inplace=True),
        "logistic": torch.sigmoid, "linear": lambda x: x, "relu": functional.relu,
        "concat": lambda parts: torch.cat(parts, 1),
        "part": lambda x, first, last: x[:, first:last],
        "grow": lambda x, n: functional.interpolate(x, scale_factor=n, mode="nearest"),
    }  # fmt: skip
    network, weights = model.darknet()
    arrays = _arrays(network, weights, on_card)
    image = on_card(np.zeros((1, 3, network.height, network.width), np.float32))
    stream = torch.cuda.Stream()
    with torch.no_grad(), torch.cuda.stream(stream):
        for _ in range(5):
            _run(network, arrays, ops, image)
        stream.synchronize()
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded, stream=stream):
            kept = _run(network, arrays, ops, image)

    def run() -> object:
        with torch.cuda.stream(stream):
            recorded.replay()
        stream.synchronize()
        return kept

    return run


def jax_network(model: Model, half: bool) -> Callable[[], object]:
    """Return what runs the network as XLA has compiled it, and waits for it."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    dtype = jnp.float16 if half else jnp.float32
    layout = ("NHWC", "OIHW", "NHWC")

    def convolve(x: Any, kernel: Any, bias: Any, layer: Layer) -> Any:
        c = layer.convolution
        assert c is not None
        padding = [(c.pad, c.pad)] * 2
        given = lax.conv_general_dilated(
            x, kernel, c.strides, padding, rhs_dilation=(c.dilation,) * 2, dimension_numbers=layout,
            feature_group_count=c.groups,
        )  # fmt: skip
        return given + bias

    def pool(x: Any, size: int, strides: Any, pads: Any) -> Any:
        top, left, bottom, right = pads
        padding = [(0, 0), (top, bottom), (left, right), (0, 0)]
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, *strides, 1), padding)

    ops = {
        "convolve": convolve, "pool": pool,
        "leaky": lambda x: jnp.maximum(x, 0.1 * x), "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),
        "logistic": jax.nn.sigmoid, "linear": lambda x: x, "relu": jax.nn.relu,
        "concat": lambda parts: jnp.concatenate(parts, 3),
        "part": lambda x, first, last: x[..., first:last],
        "grow": lambda x, n: jnp.repeat(jnp.repeat(x, n, 1), n, 2),
    }  # fmt: skip
    network, weights = model.darknet()
    arrays = _arrays(network, weights, lambda array: jax.device_put(jnp.asarray(array, dtype)))
    image = jax.device_put(jnp.zeros((1, network.height, network.width, 3), dtype))
    compiled = jax.jit(lambda x: _run(network, arrays, ops, x)).lower(image).compile()

    def run() -> object:
        return jax.block_until_ready(compiled(image))

    return run


PEERS = {"torch": torch_network, "jax": jax_network}


def _arrays(network: Network, weights: Any, put: Callable[[Any], Any]) -> dict[int, tuple[Any, Any]]:
    """Return each convolution's kernel and bias, batch norm folded in."""
    pairs = zip(network.convolutions, weights.arrays, strict=True)
    return {c.index: tuple(put(array) for array in folded(c, entry)) for c, entry in pairs}


def _run(network: Network, arrays: Mapping[int, tuple[Any, Any]], ops: Ops, image: Any) -> list[Any]:
    """Return the raw heads."""
    tensors: dict[int, Any] = {-1: image}
    for layer in network.layers:
        inputs = [tensors[i] for i in layer.inputs]
        section = layer.section
        if layer.convolution is not None:
            given = ops["convolve"](inputs[0], *arrays[layer.index], layer)
            given = ops[layer.convolution.activation](given)
        elif layer.kind == "maxpool" and layer.pool is not None:
            given = ops["pool"](inputs[0], layer.pool.size, layer.pool.strides, layer.pool.pads)
        elif layer.kind == "route":
            groups, group = section.whole("groups", 1), section.whole("group_id", 0)
            steps = [network.layers[i].shape[2] // groups for i in layer.inputs]
            parts = [
                ops["part"](x, group * step, (group + 1) * step) if groups > 1 else x
                for x, step in zip(inputs, steps, strict=True)
            ]
            given = parts[0] if len(parts) == 1 else ops["concat"](parts)
        elif layer.kind == "upsample":
            given = ops["grow"](inputs[0], section.whole("stride", 2))
        elif layer.kind == "shortcut":
            given = ops[layer.activation](sum(inputs[1:], inputs[0]))
        elif layer.kind == "yolo":
            given = inputs[0]
        else:
            raise UserError(f"{network.path}: the peers do not know [{layer.kind}]; leave --peers out for this cfg")
        tensors[layer.index] = given
    return [tensors[head.index] for head in network.heads]
