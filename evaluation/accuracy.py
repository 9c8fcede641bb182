"""Accuracy: AP as pycocotools counts it, and AP50 as Darknet does."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from core.geometry import iou
from core.images import read_image
from engine.boxes import Rows
from evaluation.datasets import Annotated

CONFIDENCE = 0.005
NMS = 0.45
UNMATCHED = object()
"""That predictions are still to be matched; None means that nothing was found."""
BOX_LIMIT = 100
"""Boxes an image that COCO's protocol counts."""

Detect = Callable[[NDArray[np.uint8]], Rows]
"""Takes pixels, uint8 (height, width, 3) BGR; gives boxes in pixels, scores and classes, best first."""


@dataclass(frozen=True)
class Accuracy:
    """Points, 0 to 100. `classes` is AP50 by class, of the classes that the annotations have."""

    images: int
    ap: float
    ap50: float
    darknet_ap50: float
    classes: dict[str, float]


def predictions(detect: Detect, images: Sequence[Annotated], done: Callable[[], None]) -> list[Rows]:
    """Detect in every image.

    :param done: called after each.
    :raises UserError: an image cannot be read.
    """
    found = []
    for image in images:
        found.append(detect(read_image(image.path)))
        done()
    return found


def measure(
    found: Sequence[Rows], images: Sequence[Annotated], names: Sequence[str], scoring: Any = UNMATCHED
) -> Accuracy:
    """Score predictions, made at `CONFIDENCE` and `NMS`, by both protocols.

    :param scoring: what `matched` made of them, where that is at hand.
    """
    ap, ap50, by_class = _summary(matched(found, images) if scoring is UNMATCHED else scoring, images)
    darknet = darknet_ap50(found, images)
    classes = {names[c]: round(value, 2) for c, value in by_class.items()}
    return Accuracy(len(images), round(ap, 2), round(ap50, 2), round(darknet, 2), classes)


def coco(found: Sequence[Rows], images: Sequence[Annotated]) -> tuple[float, float, dict[int, float]]:
    """Return AP, AP50 and AP50 by class, by pycocotools."""
    return _summary(matched(found, images), images)


def _summary(scoring: Any, images: Sequence[Annotated]) -> tuple[float, float, dict[int, float]]:
    if scoring is None:
        present = sorted({int(c) for image in images for c in image.classes})
        return 0.0, 0.0, dict.fromkeys(present, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        scoring.accumulate()
    precision = scoring.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class
    valid = [k for k in range(precision.shape[2]) if (precision[:, :, k] > -1).any()]
    by_class = {scoring.params.catIds[k] - 1: 100 * float(precision[0, :, k].mean()) for k in valid}
    ap = 100 * float(precision[:, :, valid].mean()) if valid else 0.0
    return ap, float(np.mean(list(by_class.values()))) if by_class else 0.0, by_class


def matched(found: Sequence[Rows], images: Sequence[Annotated]) -> Any:
    """Return pycocotools' COCOeval with every image matched with its truth; None where nothing was found."""
    if not any(len(boxes) for boxes, _, _ in found):
        return None
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = COCO()
        truth.dataset = _dataset(images)
        truth.createIndex()
        results = [
            {"image_id": i, "category_id": int(c) + 1, "score": float(s), "bbox": _xywh(box)}
            for i, rows in enumerate(found)
            for box, s, c in zip(*rows, strict=True)
        ]
        scoring = COCOeval(truth, truth.loadRes(results), "bbox")
        scoring.params.maxDets = [1, 10, BOX_LIMIT]
        scoring.evaluate()
    return scoring


def _dataset(images: Sequence[Annotated]) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for i, image in enumerate(images):
        for box, c, crowd, area in zip(image.boxes, image.classes, image.crowd, image.areas, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "category_id": int(c) + 1,
                    "bbox": _xywh(box),
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
    used = sorted({a["category_id"] for a in annotations})
    return {
        "images": [{"id": i} for i in range(len(images))],
        "categories": [{"id": c} for c in used],
        "annotations": annotations,
    }


def _xywh(box: NDArray[Any]) -> list[float]:
    x1, y1, x2, y2 = (float(v) for v in box)
    return [x1, y1, x2 - x1, y2 - y1]


def darknet_ap50(found: Sequence[Rows], images: Sequence[Annotated], least_iou: float = 0.5) -> float:
    """Return AP50 as `darknet detector map` counts it, over the classes that the annotations have.

    Its peculiarities (detector.c, validate_detector_map): a box is matched with the truth it overlaps most, also when
    a better box has that already, and then is a false alarm; the area is that under the envelope of precision.
    """
    values = []
    for c in sorted({int(c) for image in images for c in image.classes}):
        scores, hits, count = [], [], 0
        for rows, image in zip(found, images, strict=True):
            truth = image.boxes[(image.classes == c) & ~image.crowd]
            count += len(truth)
            boxes, confidence, classes = rows
            mine = classes == c
            taken: set[int] = set()
            for box, score in zip(boxes[mine], confidence[mine], strict=True):
                best, overlap = _best(box, truth)
                hit = overlap > least_iou and best not in taken
                if hit:
                    taken.add(best)
                scores.append(float(score))
                hits.append(hit)
        if count:
            values.append(_area(np.array(scores), np.array(hits, bool), count))
    return 100 * float(np.mean(values)) if values else 0.0


def _best(box: NDArray[Any], truth: NDArray[np.float64]) -> tuple[int, float]:
    if not len(truth):
        return -1, 0.0
    found = iou(box[None], truth)[0]
    best = int(np.argmax(found))
    return best, float(found[best])


def _area(scores: NDArray[Any], hits: NDArray[np.bool_], count: int) -> float:
    if not len(scores):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    true = np.cumsum(hits[order])
    recall = np.concatenate(([0.0], true / count))
    precision = true / np.arange(1, len(true) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * envelope).sum())
