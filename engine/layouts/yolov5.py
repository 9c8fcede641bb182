"""YOLOv5 and YOLOv7 as they were: one table, (1, 3 * cells, 5 + classes).

Its columns are centre x, centre y, width and height in pixels of the input, objectness, then a probability a class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.boxes import Rows, Table
from engine.layouts.layout import Arrays, Family, Signature, corners
from engine.onnx_input import InputSpec

ANCHORS = 3


@dataclass(frozen=True)
class Objectness:
    """Rows of box, objectness and probabilities. A score is their product; a box has its best class alone."""

    outputs: tuple[str, ...]
    classes: int

    def decode(self, outputs: Arrays, threshold: float) -> Rows:
        """See `Layout`."""
        found = np.flatnonzero(outputs[0][:, 4] > threshold)
        rows = outputs[0][found].astype(np.float32, copy=False)
        scores = rows[:, 5:] * rows[:, 4:5]
        kinds = scores.argmax(axis=1)
        best = scores[np.arange(len(rows)), kinds]
        kept = np.flatnonzero(best > threshold)
        return self.boxes(rows[kept], found[kept]), best[kept], kinds[kept].astype(np.int32)

    def table(self, outputs: Arrays) -> Table:
        """See `Layout`."""
        rows = outputs[0].astype(np.float32, copy=False)
        return self.boxes(rows, np.arange(len(rows))), rows[:, 5:] * rows[:, 4:5]

    def boxes(self, rows: NDArray[np.float32], which: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the boxes of rows, xyxy in pixels of the input.

        :param which: their places in the table.
        """
        del which  # the numbers are decoded
        return corners(rows)


def _recognise(signature: Signature) -> Objectness | None:
    for tensor in signature.tables():
        rows, fields = (int(n) for n in tensor.shape[1:])  # type: ignore[arg-type]
        if fields > 5 and rows in [ANCHORS * n for n, _ in signature.cells()]:
            return Objectness((tensor.name,), fields - 5)
    return None


FAMILY = Family("yolov5", "YOLOv5 and YOLOv7 (not v5u)", "(1, 3 * cells, 5 + classes)", _recognise, InputSpec())
