"""What each cell of each head is to learn, as Darknet assigns it (yolo_layer.c).

A box belongs to the cell of its centre and the anchor whose shape overlaps it most; with `iou_thresh` below 1 in the
cfg also to every other anchor that overlaps it by more than that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.darknet import Network
from training.samples import Picture

MOST_BOXES = 64
"""Boxes a picture that the loss looks at when it decides what is background; Darknet's max is 200."""


def assign(network: Network, pictures: Sequence[Picture]) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
    """Return the targets of each head and all boxes.

    :return: a list of float32 (batch, h, w, anchors, 5 + classes): x, y, w, h in pixels of the input, 1 where a box
        belongs, one-hot class; and float32 (batch, MOST_BOXES, 4) xyxy, crowd included, zeros after the last.
    """
    heads = network.heads
    targets = []
    for head in heads:
        height, width, _ = network.layers[head.index].shape
        shape = (len(pictures), height, width, len(head.anchors), 5 + head.classes)
        targets.append(np.zeros(shape, np.float32))
    boxes = np.zeros((len(pictures), MOST_BOXES, 4), np.float32)
    anchors = np.array([anchor for head in heads for anchor in head.anchors], np.float32)
    where = [(h, a) for h, head in enumerate(heads) for a in range(len(head.anchors))]
    thresholds = [network.layers[head.index].section.real("iou_thresh", 1.0) for head in heads]
    for b, picture in enumerate(pictures):
        taken = min(len(picture.boxes), MOST_BOXES)
        boxes[b, :taken] = picture.boxes[:taken]
        for box, kind, crowd in zip(picture.boxes, picture.classes, picture.crowd, strict=True):
            if crowd:
                continue
            size = box[2:] - box[:2]
            centre = (box[:2] + box[2:]) / 2
            shared = np.minimum(anchors, size).prod(axis=1)
            overlap = shared / (anchors.prod(axis=1) + size.prod() - shared)
            best = int(np.argmax(overlap))
            for i, (h, a) in enumerate(where):
                if i != best and overlap[i] <= thresholds[h]:
                    continue
                target = targets[h][b]
                rows, columns = target.shape[:2]
                x = min(columns - 1, int(centre[0] / network.width * columns))
                y = min(rows - 1, int(centre[1] / network.height * rows))
                cell = target[y, x, a]
                cell[:] = 0
                cell[:4] = (*centre, *size)
                cell[4] = 1
                cell[5 + int(kind)] = 1
    return targets, boxes
