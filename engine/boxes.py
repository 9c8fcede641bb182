"""From raw heads to boxes: decoding as Darknet does it, then non-maximum suppression per class.

Source: darknet's yolo_layer.c, for the formulas and for a box having every class above the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.darknet import Network
from engine.heads import Heads, nonzero

Rows = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]]
"""Boxes (n, 4) xyxy, scores (n,), class ids (n,)."""
Table = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes (n, 4) xyxy in pixels of the input, and scores (n, classes)."""

NMS_ROWS = 8192
"""Rows that non-maximum suppression looks at, the best of them: its time grows with their square, and an untrained
network or a threshold of next to nothing gives a hundred thousand."""


class Decoder:
    """Turns the raw heads of one network into rows.

    Boxes come out in pixels of the network's input. A score is objectness times the class's probability;
    a box has a row for every class whose score is above the threshold.

    :param threshold: scores at or below it are dropped, 0 to 1.
    :param nms: boxes of one class that overlap a better one by more than this IoU are dropped.
    """

    def __init__(self, network: Network, threshold: float, nms: float) -> None:
        self._threshold = threshold
        self._nms = nms
        kinds = sorted({head.new_coords for head in network.heads})
        self._heads = [Heads(network, threshold, new_coords) for new_coords in kinds]

    def decode(self, outputs: Sequence[NDArray[np.floating]]) -> Rows:
        """Return the rows, best first.

        :param outputs: the raw heads, each (h, w, anchors * (5 + classes)), float32 or float16, in the order of the
            cfg; or what a graph that decodes gives, boxes (n, 4) and scores (n, classes).
        """
        if outputs[0].ndim == 2:
            candidates, table = outputs
            row, class_id = nonzero(table > self._threshold)
            return nms((candidates[row], table[row, class_id], class_id.astype(np.int32)), self._nms)
        decoded = [heads.decode(outputs) for heads in self._heads]
        boxes, scores, classes = (
            decoded[0] if len(decoded) == 1 else (np.concatenate(column) for column in zip(*decoded, strict=True))
        )
        return survivors(boxes, scores, classes, self._nms)


def survivors(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.integer], iou: float
) -> Rows:
    """Return the rows of candidates that survive non-maximum suppression, best first.

    :param boxes: (n, 4) left, top, width and height.
    """
    keep = _nms(boxes, scores, classes, iou)
    boxes = boxes[keep]
    boxes[:, 2:] += boxes[:, :2]
    return boxes, scores[keep], classes[keep].astype(np.int32)


def nms(rows: Rows, iou: float) -> Rows:
    """Return the rows that survive greedy non-maximum suppression within each class, best first."""
    boxes, scores, classes = rows
    keep = _nms(np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1), scores, classes, iou)
    return boxes[keep], scores[keep], classes[keep]


def _nms(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.integer], iou: float
) -> NDArray[np.intp]:
    """Return the indices of the survivors, best first; boxes are left, top, width and height."""
    if len(boxes) < 2:
        return np.arange(len(boxes))
    among = None
    if len(boxes) > NMS_ROWS:
        among = np.argpartition(-scores, NMS_ROWS)[:NMS_ROWS]
        boxes, scores, classes = boxes[among], scores[among], classes[among]
    low = boxes[:, :2].min()
    if low < 0:
        # Classes are kept apart by an offset that counts on positive coordinates.
        boxes = boxes.copy()
        boxes[:, :2] -= low
    # The threshold has been applied; here every score counts. Lists, since it reads arrays more slowly.
    keep = np.array(cv2.dnn.NMSBoxesBatched(boxes.tolist(), scores.tolist(), classes.tolist(), 0.0, iou), np.intp)
    keep = keep[np.argsort(-scores[keep], kind="stable")]
    return keep if among is None else among[keep]
