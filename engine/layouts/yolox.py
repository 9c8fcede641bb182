"""YOLOX: one table, (1, cells, 5 + classes), of boxes as the heads give them or decoded in the graph.

Raw: x and y count from the cell's corner in strides, width and height are logarithms of strides (YOLOX, section 2.1 of
Ge et al., 2021, and its demo's postprocessing). Objectness and probabilities are logistic already. Pixels are BGR, 0 to
255. Both forms have the same shape; which it is shows in the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.layouts.layout import Family, Signature, corners
from engine.layouts.yolov5 import Objectness
from engine.onnx_input import InputSpec

LARGEST = 20.0
"""Of a logarithm: a box of e**20 strides is none."""
SPEC = InputSpec(colour="bgr", divisor=1.0, corner=True)


@dataclass(frozen=True)
class RawYoloX(Objectness):
    """The same with the box in strides from its cell."""

    cells: NDArray[np.float32] = field(repr=False, compare=False)
    """(cells, 3): x and y of the cell's corner in pixels, and its stride."""

    def boxes(self, rows: NDArray[np.float32], which: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the boxes of rows, xyxy in pixels of the input."""
        cells = self.cells[which]
        stride = cells[:, 2:]
        sizes = np.exp(np.minimum(rows[:, 2:4], LARGEST)) * stride
        return corners(np.concatenate((rows[:, :2] * stride + cells[:, :2], sizes), axis=1))


def _recognise_raw(signature: Signature) -> RawYoloX | None:
    found = _table(signature)
    if found is None:
        return None
    name, fields, strides = found
    parts = []
    for stride in strides:
        y, x = np.mgrid[: -(-signature.height // stride), : -(-signature.width // stride)] * stride
        parts.append(np.stack((x.ravel(), y.ravel(), np.full(x.size, stride)), axis=1))
    return RawYoloX((name,), fields - 5, np.concatenate(parts).astype(np.float32))


def _recognise_decoded(signature: Signature) -> Objectness | None:
    found = _table(signature)
    return None if found is None else Objectness((found[0],), found[1] - 5)


def _table(signature: Signature) -> tuple[str, int, tuple[int, ...]] | None:
    for tensor in signature.tables():
        rows, fields = (int(n) for n in tensor.shape[1:])  # type: ignore[arg-type]
        strides = dict(signature.cells()).get(rows)
        if fields > 5 and strides is not None:
            return tensor.name, fields, strides
    return None


RAW = Family("yolox", "YOLOX, raw heads", "(1, cells, 5 + classes)", _recognise_raw, SPEC)
DECODED = Family("yolox-decoded", "YOLOX, decoded in the graph", "(1, cells, 5 + classes)", _recognise_decoded, SPEC)
