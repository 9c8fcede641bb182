"""Ultralytics' v5u, v8, v9, v11, v12, and v10 and v26 by default: one table, (1, 4 + classes, cells).

Its rows are centre x, centre y, width and height in pixels of the input, then a probability a class. There is no
objectness. Segmentation has 32 rows more, and poses three a keypoint: boxes are read, the rest is left alone.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np

from engine.boxes import Rows, Table
from engine.layouts.layout import Arrays, Family, Signature, corners
from engine.onnx_input import InputSpec

MASKS = 32
"""Coefficients that segmentation has a box."""


@dataclass(frozen=True)
class YoloV8:
    """Boxes above probabilities, a column a cell."""

    outputs: tuple[str, ...]
    classes: int

    def decode(self, outputs: Arrays, threshold: float) -> Rows:
        """See `Layout`; a box has its most probable class alone."""
        whole = outputs[0]
        scores = whole[4 : 4 + self.classes]
        found = np.flatnonzero(scores.max(axis=0) > threshold)
        some = scores[:, found]
        kinds = some.argmax(axis=0)
        best = some[kinds, np.arange(len(found))].astype(np.float32, copy=False)
        return corners(whole[:4, found].T), best, kinds.astype(np.int32)

    def table(self, outputs: Arrays) -> Table:
        """See `Layout`."""
        whole = outputs[0]
        return corners(whole[:4].T), whole[4 : 4 + self.classes].T.astype(np.float32)


def _recognise(signature: Signature) -> YoloV8 | None:
    for tensor in signature.tables():
        rows, cells = (int(n) for n in tensor.shape[1:])  # type: ignore[arg-type]
        if cells in [n for n, _ in signature.cells()] and rows > 4:
            classes = rows - 4 - _beside(signature)
            if classes > 0:
                return YoloV8((tensor.name,), classes)
    return None


def _beside(signature: Signature) -> int:
    """Return how many rows are masks' coefficients or keypoints."""
    if signature.task == "segment" or any(len(t.shape) == 4 and t.shape[1] == MASKS for t in signature.outputs):
        return MASKS
    try:
        points = ast.literal_eval(signature.metadata.get("kpt_shape", "(0, 0)"))
        return int(points[0]) * int(points[1])
    except (ValueError, SyntaxError, TypeError, IndexError):
        return 0


FAMILY = Family(
    "yolov8",
    "Ultralytics v5u, v8, v9, v11, v12, and v10, v26 by default",
    "(1, 4 + classes, cells)",
    _recognise,
    InputSpec(),
)
