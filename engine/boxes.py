"""From raw heads to boxes: decoding as Darknet does it, then non-maximum suppression per class.

Source: darknet's yolo_layer.c, for the formulas and for a box having every class above the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.darknet import Head, Network

Rows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]
"""Boxes (n, 4) xyxy, scores (n,), class ids (n,)."""

MOST_ROWS = 8192
"""Rows that suppression looks at, the best of them: its time grows with their square, and an untrained network or a
threshold of next to nothing gives a hundred thousand."""


class Decoder:
    """Turns the raw heads of one network into rows.

    Boxes come out in pixels of the network's input. A score is objectness times the class's probability;
    a box has a row for every class whose score is above the threshold.

    :param threshold: scores at or below it are dropped, 0 to 1.
    :param nms: boxes of one class that overlap a better one by more than this IoU are dropped.
    """

    def __init__(self, network: Network, threshold: float, nms: float) -> None:
        self._heads = network.heads
        self._size = (network.width, network.height)
        self._threshold = threshold
        self._nms = nms
        # What the raw objectness must exceed for the score to reach the threshold at all.
        self._floors = [threshold if head.new_coords else _logit(threshold) for head in self._heads]

    def decode(self, outputs: Sequence[NDArray[np.floating]]) -> Rows:
        """Return the rows, best first.

        :param outputs: the raw heads, each (h, w, anchors * (5 + classes)), float32 or float16, in the order of the
            cfg; or what a graph with a back gives, boxes (n, 4) and scores (n, classes).
        """
        if outputs[0].ndim == 2:
            candidates, table = outputs
            row, class_id = np.nonzero(table > self._threshold)
            return suppress((candidates[row], table[row, class_id], class_id.astype(np.int32)), self._nms)
        parts = [
            self._decode_head(head, floor, raw)
            for head, floor, raw in zip(self._heads, self._floors, outputs, strict=True)
        ]
        boxes, scores, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
        return suppress((boxes, scores, classes), self._nms)

    def _decode_head(self, head: Head, floor: float, raw: NDArray[np.floating]) -> Rows:
        height, width, _ = raw.shape
        cells = raw.reshape(height, width, len(head.anchors), 5 + head.classes)
        # Anchors first, as most engines have them in memory: then this reads whole planes, and is what a frame costs.
        found = np.flatnonzero(_above(cells[..., 4].transpose(2, 0, 1), floor))
        if not len(found):
            return _no_rows()
        anchor, y, x = np.unravel_index(found, (len(head.anchors), height, width))
        rows = cells[y, x, anchor].astype(np.float32, copy=False)
        # No score is above its class's probability, so few of those need to be computed.
        row, class_id = np.nonzero(rows[:, 5:] > floor)
        objectness, probability = rows[row, 4], rows[row, 5 + class_id]
        if not head.new_coords:  # with new_coords the convolution before the head is logistic already
            objectness, probability = _sigmoid(objectness), _sigmoid(probability)
        score = objectness * probability
        enough = score > self._threshold
        row, class_id, score = row[enough], class_id[enough], score[enough]
        grid = np.stack((x, y), axis=1).astype(np.float32)
        anchors = np.asarray(head.anchors, np.float32)[anchor]
        xy, wh = rows[:, 0:2], rows[:, 2:4]
        if head.new_coords:
            wh = (2 * wh) ** 2 * anchors
        else:
            xy, wh = _sigmoid(xy), np.exp(np.minimum(wh, 20)) * anchors
        xy = xy * head.scale_x_y - 0.5 * (head.scale_x_y - 1) + grid
        xy *= np.array((self._size[0] / width, self._size[1] / height), np.float32)
        boxes = np.concatenate((xy - wh / 2, xy + wh / 2), axis=1)[row]
        return boxes.astype(np.float32), score, class_id.astype(np.int32)


def suppress(rows: Rows, iou: float) -> Rows:
    """Return the rows that greedy non-maximum suppression within each class keeps, best first."""
    boxes, scores, classes = rows
    if len(boxes) < 2:
        return rows
    if len(boxes) > MOST_ROWS:
        best = np.argpartition(-scores, MOST_ROWS)[:MOST_ROWS]
        boxes, scores, classes = boxes[best], scores[best], classes[best]
    corners_sizes = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    # The threshold has been applied; here every score counts.
    kept = cv2.dnn.NMSBoxesBatched(corners_sizes.tolist(), scores.tolist(), classes.tolist(), 0.0, iou)
    keep = np.asarray(kept, np.int64)
    keep = keep[np.argsort(-scores[keep], kind="stable")]
    return boxes[keep], scores[keep], classes[keep]


def _above(values: NDArray[np.floating], floor: float) -> NDArray[np.bool_]:
    if values.dtype != np.float16:
        return values > floor
    # numpy compares float16 one by one; as integers, in the order that their bits have, it takes a fifth of the time.
    limit = np.float16(floor)
    if limit > floor:  # rounded up, it would pass over a value that is above
        limit = np.nextafter(limit, np.float16(-np.inf))
    bits = np.uint16 if limit < 0 else np.int16
    return values.view(bits) < limit.view(bits) if limit < 0 else values.view(bits) > limit.view(bits)


def _no_rows() -> Rows:
    return np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32)


def _sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    # 1 / (1 + exp(-x)) without overflow for large negative x.
    return 0.5 * (1 + np.tanh(0.5 * x))


def _logit(p: float) -> float:
    return -math.inf if p <= 0 else math.inf if p >= 1 else math.log(p / (1 - p))
