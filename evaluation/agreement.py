"""Accuracy of an engine at hand: on annotations, or on what the float network itself finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.geometry import Fit
from engine.boxes import Rows
from engine.pipeline import decoder as decoder_of
from engine.preprocess import Preprocessor
from evaluation.accuracy import CONFIDENCE, NMS, coco, predictions
from evaluation.datasets import Annotated

SURE = 0.25
"""What the float network must be at the least for its box to count as the truth."""


def detecting(engine: Any, network: Any, fit: Fit, confidence: float = CONFIDENCE) -> Any:
    """Return what detects with an engine that is loaded: pixels in, rows out."""
    preprocessor = Preprocessor(engine.input, engine.layout, fit)
    decoder = decoder_of(network, confidence, NMS)

    def detect(pixels: NDArray[np.uint8]) -> Rows:
        preprocessor.run(pixels)
        boxes, scores, classes = decoder.decode(engine.infer())
        return (preprocessor.to_frame(boxes) if len(boxes) else boxes), scores, classes

    return detect


def score(engine: Any, network: Any, fit: Fit, truth: Sequence[Annotated]) -> float:
    """Return an engine's AP50 by COCO's count, points."""
    _, ap50, _ = coco(predictions(detecting(engine, network, fit), truth, lambda: None), truth)
    return ap50


def as_truth(engine: Any, network: Any, fit: Fit, pictures: Any) -> list[Annotated]:
    """Return what an engine finds, as annotations: where nobody drew boxes, FP32 is what INT8 should agree with.

    :param pictures: a folder's (`conversion.pictures.Pictures`).
    :raises UserError: they are a video's.
    """
    if not pictures.files:
        raise UserError(f"{pictures.source}: to tune without annotations, give a folder of images, not a video")
    detect = detecting(engine, network, fit, SURE)
    found = []
    for (_, pixels), path in zip(pictures.each(), pictures.files, strict=True):
        boxes, _, classes = detect(pixels)
        table = boxes.astype(np.float64)
        areas = np.prod(table[:, 2:] - table[:, :2], axis=1)
        found.append(Annotated(path, table, classes.astype(np.int64), np.zeros(len(table), bool), areas))
    return found
