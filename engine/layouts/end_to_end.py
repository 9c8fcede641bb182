"""Detectors that need no NMS, or have it in the graph: one table, (1, boxes, 6).

Its columns are x1, y1, x2, y2 in pixels of the input, confidence, class: Ultralytics' v10 and v26 end to end, and
whatever was exported with `nms=True`. Segmentation and poses have columns more, which are left alone.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

from engine.boxes import Rows, Table
from engine.layouts.layout import MOST, Arrays, Family, Signature, listed, spread
from engine.onnx_input import InputSpec

FIELDS = 6


@dataclass(frozen=True)
class EndToEnd:
    """A list of boxes, each with its confidence and class."""

    outputs: tuple[str, ...]
    classes: int

    def decode(self, outputs: Arrays, threshold: float) -> Rows:
        """See `Layout`."""
        return listed(outputs[0], self.classes, threshold)

    def table(self, outputs: Arrays) -> Table:
        """See `Layout`."""
        return spread(self.decode(outputs, 0.0), self.classes)


def _recognise(signature: Signature) -> EndToEnd | None:
    if signature.metadata.get("head") == "RTDETRDecoder":  # boxes in parts of the input: `engine.layouts.detr`
        return None
    says = says_end_to_end(signature)
    cells = [n * k for n, _ in signature.cells() for k in (1, 3)]
    for tensor in signature.tables():
        rows, fields = (int(n) for n in tensor.shape[1:])  # type: ignore[arg-type]
        beside = fields > FIELDS and says and signature.task in ("segment", "pose")
        if rows <= MOST and (fields == FIELDS or beside) and (says or rows not in cells):
            # Nothing in the table says how many classes there are.
            return EndToEnd((tensor.name,), signature.names or 80)
    return None


def says_end_to_end(signature: Signature) -> bool:
    """Tell whether the metadata says that what was found is listed."""
    return "True" in (signature.metadata.get("end2end"), _argument(signature, "nms"))


def _argument(signature: Signature, name: str) -> str:
    try:
        return str(ast.literal_eval(signature.metadata.get("args", "{}")).get(name))
    except (ValueError, SyntaxError, AttributeError):
        return ""


FAMILY = Family(
    "end-to-end",
    "Ultralytics v10 and v26 end to end, or exported with NMS",
    "(1, boxes, 6)",
    _recognise,
    InputSpec(),
    nms=False,
    ordered=False,
    counts_by_names=True,
)
