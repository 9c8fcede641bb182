"""How far a quantised network's output is from the float one's, weighed by what decoding makes of it.

By `engine.distance`, in parts of all the scores that the float network gives. Two ways of quantising differ by far less
from picture to picture in this than in AP: it tells them apart on tens of pictures where AP takes thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from conversion.pictures import Pictures
from conversion.quantization import Scheme
from core.geometry import Fit
from engine.boxes import Table
from engine.darknet import Head, Network
from engine.distance import distance
from engine.engine import check_engine
from engine.onnx_network import OnnxNetwork
from engine.preprocess import Preprocessor
from engine.runtimes.openvino import OpenVinoEngine

RESAMPLES = 4000
Span = tuple[float, float, float]
"""A value, and the low and high end of its interval."""


def errors(
    reference: Any, engine: Any, network: Network | OnnxNetwork, pictures: Pictures, fit: Fit
) -> NDArray[np.float64]:
    """Return each picture's error and the float network's scores, (pictures, 2).

    :param reference: runs the float network; `engine` the quantised one.
    :raises UserError: a picture cannot be read.
    """
    ordered = isinstance(network, Network) or network.family.ordered
    prepared = [Preprocessor(each.input, each.layout, fit) for each in (reference, engine)]
    rows = []
    for _, picture in pictures.each():
        for preprocessor in prepared:
            preprocessor.run(picture)
        rows.append(distance(candidates(network, reference.infer()), candidates(network, engine.infer()), ordered))
    return np.array(rows).reshape(-1, 2)


def relative(rows: NDArray[np.float64]) -> float:
    """Return the error of pictures together, in percent of the float network's scores."""
    return 100 * float(rows[:, 0].sum() / max(rows[:, 1].sum(), 1e-12))


def gain(a: NDArray[np.float64], b: NDArray[np.float64], level: float, seed: int = 0) -> Span:
    """Return by how much less error `b` has than `a`, percent of the float network's scores, and the interval.

    :param a: as `errors` gives them, of the same pictures as `b`.
    :param level: the part of resamples outside of the interval.
    """
    saved = a[:, 0] - b[:, 0]
    picks = np.random.default_rng(seed).integers(0, len(saved), (RESAMPLES, len(saved)))
    drawn = 100 * saved[picks].sum(axis=1) / np.maximum(a[:, 1][picks].sum(axis=1), 1e-12)
    low, high = np.percentile(drawn, (50 * level, 100 - 50 * level))
    return 100 * float(saved.sum() / max(a[:, 1].sum(), 1e-12)), float(low), float(high)


def executor(model: onnx.ModelProto, scheme: Scheme) -> Any:
    """Return what runs a quantised network: OpenVINO, or for TensorRT's scheme exact arithmetic by ONNX Runtime.

    :raises UserError: ONNX Runtime is not installed.
    """
    data = model.SerializeToString()
    if scheme == "asymmetric":
        return OpenVinoEngine(data, precision="int8")
    check_engine("onnx", "int8")
    from engine.runtimes.onnx import OnnxEngine

    return OnnxEngine(data, "cpu", exact=True)


def candidates(network: Network | OnnxNetwork, outputs: Sequence[NDArray[np.float32]]) -> Table:
    """Return every box that the heads stand for, (n, 4) xyxy in pixels of the input, and its scores (n, classes)."""
    if not isinstance(network, Network):
        return network.layout.table(outputs)
    found = [_decoded(network, head, output) for head, output in zip(network.heads, outputs, strict=True)]
    boxes, scores = zip(*found, strict=True)
    return np.concatenate(boxes), np.concatenate(scores)


def _decoded(network: Network, head: Head, output: NDArray[np.float32]) -> tuple[Any, Any]:
    height, width, _ = output.shape
    raw = output.reshape(height, width, len(head.anchors), 5 + head.classes)
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)[:, :, None]
    stride = np.array((network.width / width, network.height / height))
    xy, wh, sure = raw[..., :2], raw[..., 2:4], raw[..., 4:]
    if head.new_coords:
        wh = np.square(2 * wh)
    else:
        xy, wh, sure = _sigmoid(xy), np.exp(np.clip(wh, -20, 8)), _sigmoid(sure)
    centre = (xy * head.scale_x_y - 0.5 * (head.scale_x_y - 1) + grid) * stride
    half = wh * np.array(head.anchors) / 2
    boxes = np.concatenate((centre - half, centre + half), axis=-1)
    return boxes.reshape(-1, 4), (sure[..., :1] * sure[..., 1:]).reshape(-1, head.classes)


def _sigmoid(x: NDArray[Any]) -> NDArray[Any]:
    return 1 / (1 + np.exp(-np.clip(x, -60, 60)))
