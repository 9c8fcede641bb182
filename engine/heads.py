"""Raw heads that are decoded alike: which of their cells may hold a box, and what box that is.

What a frame costs here is less the arithmetic than the number of calls: after the network has run, none of numpy's code
or data is in the processor's caches, and a call takes some ten microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.darknet import Head, Network

Candidates = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.intp]]
"""Boxes (n, 4) as left, top, width and height; scores (n,); classes (n,)."""
_NONE: Candidates = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.intp))


class Heads:
    """The heads of a network that have `new_coords`, or those that have not.

    :param threshold: of the score, 0 to 1.
    """

    def __init__(self, network: Network, threshold: float, new_coords: bool) -> None:
        chosen = [(i, head) for i, head in enumerate(network.heads) if head.new_coords == new_coords]
        self._which = [i for i, _ in chosen]
        self._heads = [head for _, head in chosen]
        self._new_coords = new_coords
        self._threshold = threshold
        # What the raw objectness, and the raw probability, must exceed for the score to reach the threshold at all.
        self._floor = floor_of(threshold, new_coords)
        tables = [_cells(head, network) for head in self._heads]
        self._anchor, self._place, self._units = (np.concatenate(column) for column in zip(*tables, strict=True))
        self._ends = np.cumsum([len(table[0]) for table in tables])
        self._above = np.zeros(len(self._anchor), np.bool_)
        self._outputs: Sequence[NDArray[np.floating]] = ()
        self._planes: list[tuple[NDArray[np.floating], NDArray[np.bool_]]] = []
        self._cells: list[NDArray[np.floating]] = []

    def decode(self, outputs: Sequence[NDArray[np.floating]]) -> Candidates:
        """Return all boxes with a score above the threshold, one for every class that has it.

        :param outputs: the raw heads of the whole network, each (h, w, anchors * (5 + classes)).
        """
        # Most engines give the same memory each time: then its views are there already.
        if len(outputs) != len(self._outputs) or any(a is not b for a, b in zip(outputs, self._outputs, strict=True)):
            self._look_at(outputs)
        for plane, above in self._planes:
            _compare(plane, self._floor, above)
        found = np.flatnonzero(self._above)
        if not len(found):
            return _NONE
        rows = self._rows(found)
        # No score is above its class's probability, so few of those need to be computed.
        row, class_id = nonzero(rows[:, 5:] > self._floor)
        raw = np.empty((len(row), 6), np.float32)
        raw[:, :5] = rows[row, :5]
        raw[:, 5] = rows[row, class_id + 5]
        if self._new_coords:  # the convolution before the head is logistic already
            raw[:, 2:4] = (2 * raw[:, 2:4]) ** 2
        else:
            size = np.exp(np.minimum(raw[:, 2:4], 20))
            raw = sigmoid(raw)
            raw[:, 2:4] = size
        score = raw[:, 4] * raw[:, 5]
        enough = np.flatnonzero(score > self._threshold)
        if len(enough) < len(row):
            row, class_id, score, raw = row[enough], class_id[enough], score[enough], raw[enough]
        units = self._units[found[row]]
        boxes = raw[:, :4] * units[:, :4]
        boxes[:, :2] += units[:, 4:]
        boxes[:, :2] -= boxes[:, 2:] / 2
        return boxes, score, class_id

    def _rows(self, found: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the raw rows of cells, (n, 5 + classes)."""
        rows = np.empty((len(found), 5 + self._heads[0].classes), np.float32)
        anchor, place = self._anchor[found], self._place[found]
        begin = 0
        for cells, end in zip(self._cells, found.searchsorted(self._ends).tolist(), strict=True):
            if end > begin:
                rows[begin:end] = cells[place[begin:end], anchor[begin:end]]
            begin = end
        return rows

    def _look_at(self, outputs: Sequence[NDArray[np.floating]]) -> None:
        self._outputs = tuple(outputs)
        self._planes, self._cells = [], []
        begin = 0
        for i, head, end in zip(self._which, self._heads, self._ends.tolist(), strict=True):
            height, width, depth = outputs[i].shape
            anchors = len(head.anchors)
            cells = outputs[i].reshape(height * width, anchors, depth // anchors)
            if not np.may_share_memory(cells, outputs[i]):  # strides that only a copy brings into this shape
                self._outputs = ()
            # Anchors first, as most engines have them in memory: this reads whole planes.
            self._planes.append((cells[:, :, 4].T, self._above[begin:end].reshape(anchors, height * width)))
            self._cells.append(cells)
            begin = end


def nonzero(table: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return what `np.nonzero` does, of a table with two sides, in an eighth of its time."""
    return np.divmod(np.flatnonzero(table), table.shape[1])


def units_of(head: Head, network: Network) -> NDArray[np.float32]:
    """Return the units of each of a head's cells, anchor by anchor and row by row: float32 (n, 6).

    They are pixels a unit of x, y, width and height, and what is then added to x and y.
    """
    return _cells(head, network)[2]


def floor_of(threshold: float, new_coords: bool) -> float:
    """Return what raw objectness, and a raw probability, must exceed for the score to reach the threshold at all."""
    return threshold if new_coords else _logit(threshold)


def _cells(head: Head, network: Network) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Return anchor and place of each of a head's cells, anchor by anchor and row by row, and its units."""
    height, width, _ = network.layers[head.index].shape
    stride = np.array((network.width / width, network.height / height), np.float32)
    anchor, y, x = np.mgrid[: len(head.anchors), :height, :width].reshape(3, -1)
    corner = (np.stack((x, y), axis=1) - 0.5 * (head.scale_x_y - 1)) * stride
    scale = np.broadcast_to(stride * head.scale_x_y, corner.shape)
    units = np.concatenate((scale, np.array(head.anchors)[anchor], corner), axis=1)
    return anchor, y * width + x, units.astype(np.float32)


def _compare(values: NDArray[np.floating], floor: float, above: NDArray[np.bool_]) -> None:
    if values.dtype != np.float16:
        np.greater(values, floor, out=above)
        return
    # numpy compares float16 one by one; as integers, in the order that their bits have, it takes a fifth of the time.
    limit = np.float16(floor)
    if limit > floor:  # rounded up, it would pass over a value that is above
        limit = np.nextafter(limit, np.float16(-np.inf))
    bits = np.uint16 if limit < 0 else np.int16
    (np.less if limit < 0 else np.greater)(values.view(bits), limit.view(bits), out=above)


def sigmoid(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 1 / (1 + exp(-x)), without overflow for large negative x."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def _logit(p: float) -> float:
    return -math.inf if p <= 0 else math.inf if p >= 1 else math.log(p / (1 - p))
