"""A Darknet network computed plainly in float64, layer by layer, from the meaning of its options.

Slow, and written without looking at the Keras network, so that the two can disagree.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from engine.darknet import Network, Weights


def forward(network: Network, weights: Weights, image: np.ndarray) -> list[np.ndarray]:
    """Return the heads (channels, h, w) for an image (3, height, width)."""
    arrays = iter(weights.arrays)
    outputs: list[np.ndarray] = []
    x = image.astype(np.float64)
    heads = []
    for layer in network.layers:
        o = layer.section.options
        if layer.kind == "convolutional":
            x = convolution(x, next(arrays), o)
        elif layer.kind == "maxpool":
            x = maxpool(x, int(o.get("size", o.get("stride", 1))), int(o.get("stride", 1)))
        elif layer.kind == "upsample":
            x = x.repeat(int(o["stride"]), 1).repeat(int(o["stride"]), 2)
        elif layer.kind == "route":
            wanted = [int(n) for n in o["layers"].split(",")]
            parts = [outputs[n] for n in wanted]
            groups, group = int(o.get("groups", 1)), int(o.get("group_id", 0))
            x = np.concatenate([np.split(part, groups)[group] for part in parts])
        elif layer.kind == "shortcut":
            x = outputs[-1] + outputs[int(o["from"])]
        elif layer.kind == "yolo":
            heads.append(x)
        outputs.append(x)
    return heads


def convolution(x: np.ndarray, w: dict[str, np.ndarray], o: dict[str, str]) -> np.ndarray:
    size, stride, groups = int(o.get("size", 1)), int(o.get("stride", 1)), int(o.get("groups", 1))
    pad = size // 2 if o.get("pad") == "1" else 0
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride]
    kernel = w["kernel"].astype(np.float64)
    y = np.concatenate(
        [
            np.einsum("chwij,ocij->ohw", part, k)
            for part, k in zip(np.split(windows, groups), np.split(kernel, groups), strict=True)
        ]
    )
    if "gamma" in w:
        scale = w["gamma"] / np.sqrt(w["variance"].astype(np.float64) + 1e-5)
        y = (y - w["mean"][:, None, None]) * scale[:, None, None]
    y = y + w["beta"][:, None, None]
    sigmoid = 1 / (1 + np.exp(-y))
    return {
        "linear": y,
        "leaky": np.where(y > 0, y, 0.1 * y),
        "relu": np.maximum(y, 0),
        "logistic": sigmoid,
        "swish": y * sigmoid,
        "mish": y * np.tanh(np.log1p(np.exp(y))),
    }[o["activation"]]


def maxpool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    before = (size - 1) // 2
    out_h, out_w = (x.shape[1] - 1) // stride + 1, (x.shape[2] - 1) // stride + 1
    x = np.pad(x, ((0, 0), (before, size), (before, size)), constant_values=-np.inf)
    windows = sliding_window_view(x, (size, size), (1, 2))[:, ::stride, ::stride].max((3, 4))
    return windows[:, :out_h, :out_w]
