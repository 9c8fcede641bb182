"""How far a quantised network's output is from the float one's, weighed by what decoding makes of it.

Every candidate box that either network gives a score above `SEEN` counts: how much its scores differ, and how far its
boxes are apart (1 - IoU, weighed by the score). In parts of all the scores that the float network gives. Two ways of
quantising differ by far less from picture to picture in this than in AP: it tells them apart on tens of pictures where
AP takes thousands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conversion.pictures import Pictures
from core.geometry import Resize
from engine.darknet import Head, Network
from engine.preprocess import Preprocessor

SEEN = 0.02


def errors(reference: Any, engine: Any, network: Network, pictures: Pictures, resize: Resize) -> NDArray[np.float64]:
    """Return each picture's error and the float network's scores, (pictures, 2).

    :param reference: runs the float network; `engine` the quantised one.
    :raises UserError: a picture cannot be read.
    """
    prepared = [Preprocessor(each.input, each.layout, resize) for each in (reference, engine)]
    rows = []
    for _, picture in pictures.each():
        for preprocessor in prepared:
            preprocessor.run(picture)
        rows.append(_error(candidates(network, reference.infer()), candidates(network, engine.infer())))
    return np.array(rows).reshape(-1, 2)


def relative(rows: NDArray[np.float64]) -> float:
    """Return the error of pictures together, in percent of the float network's scores."""
    return 100 * float(rows[:, 0].sum() / max(rows[:, 1].sum(), 1e-12))


def candidates(
    network: Network, outputs: Sequence[NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return every box that the heads stand for, (n, 4) xyxy in pixels of the input, and its scores (n, classes)."""
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


def _error(true: tuple[Any, Any], given: tuple[Any, Any]) -> tuple[float, float]:
    seen = np.maximum(true[1].max(axis=1), given[1].max(axis=1)) > SEEN
    (a, p), (b, q) = ((boxes[seen], scores[seen]) for boxes, scores in (true, given))
    counted = np.maximum(p, q) > SEEN
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    apart = 1 - shared / np.maximum(union, 1e-9)
    weight = np.minimum(p.max(axis=1, initial=0), q.max(axis=1, initial=0))
    return float((np.abs(p - q) * counted).sum() + (weight * apart).sum()), float((p * counted).sum())
