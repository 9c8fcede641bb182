"""Transformers: RT-DETR v2, D-FINE and DEIM, as they are deployed and raw; RF-DETR; Ultralytics' RT-DETR.

Deployed (`labels`, `boxes`, `scores`, of `images` and `orig_target_sizes`): what was found, boxes xyxy in pixels of the
size that was given. Raw (`pred_logits`, `pred_boxes`; RF-DETR calls them `labels` and `dets`): a row a query, boxes
cxcywh in parts of the input, a logit a class. A query may have several classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.boxes import Rows, Table
from engine.coco import COCO_IDS
from engine.heads import nonzero, sigmoid
from engine.layouts.end_to_end import says_end_to_end
from engine.layouts.layout import MOST, Arrays, Family, Signature, corners, listed, spread
from engine.onnx_input import IMAGENET, InputSpec

PLAIN = InputSpec(resize="stretch")
DECODER = "RTDETRDecoder"
"""What Ultralytics' metadata calls the head."""


@dataclass(frozen=True)
class Deployed:
    """Classes, boxes and scores in three outputs."""

    outputs: tuple[str, ...]
    classes: int

    def decode(self, outputs: Arrays, threshold: float) -> Rows:
        """See `Layout`."""
        labels, boxes, scores = outputs
        kinds = np.rint(labels).astype(np.int32)
        kept = np.flatnonzero((scores > threshold) & (kinds >= 0) & (kinds < self.classes))
        return boxes[kept].astype(np.float32), scores[kept].astype(np.float32), kinds[kept]

    def table(self, outputs: Arrays) -> Table:
        """See `Layout`."""
        return spread(self.decode(outputs, 0.0), self.classes)


@dataclass(frozen=True)
class Queries:
    """Boxes and scores of queries in two outputs, or side by side in one.

    :param columns: those of the logits that are classes; None for all.
    :param logits: else they are probabilities already.
    """

    outputs: tuple[str, ...]
    classes: int
    width: int
    height: int
    logits: bool = True
    columns: NDArray[np.intp] | None = field(default=None, compare=False)

    def decode(self, outputs: Arrays, threshold: float) -> Rows:
        """See `Layout`."""
        boxes, scores = self.table(outputs)
        row, kind = nonzero(scores > threshold)
        return boxes[row], scores[row, kind], kind.astype(np.int32)

    def table(self, outputs: Arrays) -> Table:
        """See `Layout`."""
        given, boxes = outputs if len(outputs) == 2 else (outputs[0][:, 4:], outputs[0][:, :4])
        if self.columns is not None:
            given = given[:, self.columns]
        given = given.astype(np.float32, copy=False)
        scores = sigmoid(given) if self.logits else given
        scale = np.array((self.width, self.height) * 2, np.float32)
        return corners(boxes.astype(np.float32, copy=False)) * scale, scores


@dataclass(frozen=True)
class Ranked:
    """The best queries: box, score and class, a row each."""

    outputs: tuple[str, ...]
    classes: int
    width: int
    height: int

    def decode(self, outputs: Arrays, threshold: float) -> Rows:
        """See `Layout`."""
        boxes, scores, kinds = listed(outputs[0], self.classes, threshold)
        return corners(boxes) * np.array((self.width, self.height) * 2, np.float32), scores, kinds

    def table(self, outputs: Arrays) -> Table:
        """See `Layout`."""
        return spread(self.decode(outputs, 0.0), self.classes)


def _recognise_deployed(signature: Signature) -> Deployed | None:
    found = signature.named("labels", "boxes", "scores")
    if found is None or len(found[1].shape) != 3:
        return None
    return Deployed(tuple(tensor.name for tensor in found), signature.names or 80)


def _recognise_raw(signature: Signature) -> Queries | None:
    found = signature.named("pred_logits", "pred_boxes") or signature.named("logits", "pred_boxes")
    if found is None or len(found[0].shape) != 3 or found[0].shape[2] is None:
        return None
    names = tuple(tensor.name for tensor in found)
    return Queries(names, found[0].shape[2], signature.width, signature.height)


def _recognise_rf(signature: Signature) -> Queries | None:
    found = signature.named("labels", "dets")
    if found is None or len(found[0].shape) != 3 or found[0].shape[2] is None:
        return None
    logits = found[0].shape[2]
    names = tuple(tensor.name for tensor in found)
    size = (signature.width, signature.height)
    if logits == max(COCO_IDS) + 1 and signature.names in (None, len(COCO_IDS)):
        # COCO's own ids, which leave eleven out.
        return Queries(names, len(COCO_IDS), *size, columns=np.array(COCO_IDS, np.intp))
    # The last logit of a training of one's own is for nothing at all.
    classes = signature.names if signature.names in (logits, logits - 1) else logits - 1
    return Queries(names, int(classes or 1), *size, columns=np.arange(int(classes or 1)))


def _recognise_ranked(signature: Signature) -> Ranked | None:
    if signature.metadata.get("head", DECODER) != DECODER or says_end_to_end(signature):
        return None
    for tensor in signature.tables():
        if tensor.shape[2] == 6 and (tensor.shape[1] or 0) <= MOST:
            return Ranked((tensor.name,), signature.names or 80, signature.width, signature.height)
    return None


def _recognise_ultralytics(signature: Signature) -> Queries | None:
    cells = [n * k for n, _ in signature.cells() for k in (1, 3)]
    for tensor in signature.tables():
        queries, fields = (int(n) for n in tensor.shape[1:])  # type: ignore[arg-type]
        if signature.names is not None and fields == 4 + signature.names and queries not in cells and queries <= MOST:
            return Queries((tensor.name,), fields - 4, signature.width, signature.height, logits=False)
    return None


DEPLOYED = Family(
    "detr",
    "RT-DETR v2, D-FINE, DEIM, deployed",
    "labels, boxes, scores",
    _recognise_deployed,
    PLAIN,
    nms=False,
    ordered=False,
    counts_by_names=True,
)
RAW = Family(
    "detr-raw", "RT-DETR v2, D-FINE, DEIM, raw", "pred_logits (or logits), pred_boxes", _recognise_raw, PLAIN, nms=False
)
RF = Family(
    "rf-detr",
    "RF-DETR",
    "dets, labels",
    _recognise_rf,
    InputSpec(mean=IMAGENET[0], std=IMAGENET[1], resize="stretch"),
    nms=False,
)
RANKED = Family(
    "rt-detr-ultralytics",
    "Ultralytics' RT-DETR",
    "(1, boxes, 6), boxes in parts of the input",
    _recognise_ranked,
    PLAIN,
    nms=False,
    ordered=False,
    counts_by_names=True,
)
QUERIES = Family(
    "rt-detr-queries",
    "Ultralytics' RT-DETR of earlier versions",
    "(1, queries, 4 + classes)",
    _recognise_ultralytics,
    PLAIN,
    nms=False,
)
