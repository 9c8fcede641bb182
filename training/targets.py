"""What each cell of each head is to learn, as Darknet assigns it (yolo_layer.c).

A box belongs to the cell of its centre and the anchor whose shape overlaps it most; with `iou_thresh` below 1 in the
cfg also to every other anchor that overlaps it by more than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.darknet import Network
from training.samples import Picture

MOST_BOXES = 64
"""Boxes a picture that the loss looks at when it decides what is background; Darknet's max is 200."""
MOST_CELLS = 6 * MOST_BOXES
"""Cells of a head that learn a box, a picture: a box may take several anchors. Those beyond it are not learnt."""


@dataclass(frozen=True)
class Targets:
    """The cells of a head that learn a box.

    `cells`: int32 (batch, MOST_CELLS), each the place of (y, x, anchor) in the flattened head, all different; one past
    the last for nothing. `values`: float32 (batch, MOST_CELLS, 5 + classes): x, y, w, h in pixels of the
    input, 1, one-hot class; zeros for nothing.
    """

    cells: NDArray[np.int32]
    values: NDArray[np.float32]


def assign(network: Network, pictures: Sequence[Picture]) -> tuple[list[Targets], NDArray[np.float32]]:
    """Return the targets of each head and all boxes.

    :return: what each head learns; and float32 (batch, MOST_BOXES, 4) xyxy, crowd included, zeros after the last.
    """
    heads = network.heads
    grids = [network.layers[head.index].shape for head in heads]
    boxes = np.zeros((len(pictures), MOST_BOXES, 4), np.float32)
    targets = [
        Targets(
            np.full((len(pictures), MOST_CELLS), rows * columns * len(head.anchors), np.int32),
            np.zeros((len(pictures), MOST_CELLS, 5 + head.classes), np.float32),
        )
        for head, (rows, columns, _) in zip(heads, grids, strict=True)
    ]
    anchors = np.array([anchor for head in heads for anchor in head.anchors], np.float32)
    where = [(h, a) for h, head in enumerate(heads) for a in range(len(head.anchors))]
    thresholds = np.array([network.layers[heads[h].index].section.real("iou_thresh", 1.0) for h, _ in where])
    for b, picture in enumerate(pictures):
        taken = min(len(picture.boxes), MOST_BOXES)
        boxes[b, :taken] = picture.boxes[:taken]
        learnt: list[dict[int, tuple[NDArray[np.float32], int]]] = [{} for _ in heads]
        for box, kind, crowd in zip(picture.boxes, picture.classes, picture.crowd, strict=True):
            if crowd:
                continue
            size = box[2:] - box[:2]
            centre = (box[:2] + box[2:]) / 2
            shared = np.minimum(anchors, size).prod(axis=1)
            overlap = shared / (anchors.prod(axis=1) + size.prod() - shared)
            chosen = overlap > thresholds
            chosen[np.argmax(overlap)] = True
            for i in np.flatnonzero(chosen):
                h, a = where[i]
                rows, columns, _ = grids[h]
                x = min(columns - 1, int(centre[0] / network.width * columns))
                y = min(rows - 1, int(centre[1] / network.height * rows))
                learnt[h][(y * columns + x) * len(heads[h].anchors) + a] = (np.concatenate((centre, size)), int(kind))
        for target, cells in zip(targets, learnt, strict=True):
            for k, (cell, (at, kind)) in enumerate(list(cells.items())[:MOST_CELLS]):
                target.cells[b, k] = cell
                target.values[b, k, :4] = at
                target.values[b, k, [4, 5 + kind]] = 1
    return targets, boxes
