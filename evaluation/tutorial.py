"""Accuracy as a well-known tutorial counted it, for comparison with its published figures.

Source: pylessons' TensorFlow-2.x-YOLOv4, 2020, whose INT8 lost 15 % of its accuracy and whose FP32 was 14 points under
what the same weights give. Its network got blue for red, its decoding left scale_x_y out, and its protocol dropped
scores under 0.05, kept one label a box and rounded boxes to whole pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from core.geometry import Fit
from engine.boxes import Decoder, Rows
from engine.darknet import Network
from engine.preprocess import Preprocessor
from evaluation.accuracy import CONFIDENCE, NMS, darknet_ap50
from evaluation.datasets import Annotated

THRESHOLD = 0.05


def detecting(
    heads: Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]], network: Network, fit: Fit
) -> Callable[[NDArray[np.uint8]], Rows]:
    """Return what detects as the tutorial did, by an engine's raw heads.

    :param heads: gives the raw heads of a picture, uint8 (height, width, 3) BGR.
    """
    layers = (
        layer if layer.head is None else replace(layer, head=replace(layer.head, scale_x_y=1.0))
        for layer in network.layers
    )
    decoder = Decoder(replace(network, layers=tuple(layers)), CONFIDENCE, NMS)
    placing = Preprocessor(np.zeros((1, network.height, network.width, 3), np.uint8), "NHWC", fit)

    def detect(pixels: NDArray[np.uint8]) -> Rows:
        boxes, scores, classes = decoder.decode(heads(np.ascontiguousarray(pixels[..., ::-1])))
        placing.run(pixels)
        return (placing.to_frame(boxes) if len(boxes) else boxes), scores, classes

    return detect


def ap50(found: Sequence[Rows], truth: Sequence[Annotated]) -> float:
    """Return AP50 of predictions that `detecting` made, by the tutorial's protocol, points."""
    return darknet_ap50([_as_reported(rows) for rows in found], truth)


def _as_reported(rows: Rows) -> Rows:
    """Return predictions above the threshold, one label a box, in whole pixels."""
    boxes, scores, classes = rows
    above = scores > THRESHOLD
    boxes, scores, classes = boxes[above].astype(np.int64).astype(np.float32), scores[above], classes[above]
    _, first = np.unique(boxes, axis=0, return_index=True)  # rows come best first
    first.sort()
    return boxes[first], scores[first], classes[first]
