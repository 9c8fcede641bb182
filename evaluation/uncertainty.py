"""Which frames are worth labelling: those where a detector is unsure, flickers, or differs from a second one.

After least-margin sampling (Settles, Active Learning Literature Survey, 2009, section 3.1) and query by committee
(section 3.2); the flicker of boxes between frames needs no second model.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.types import Detections, Frame
from core.geometry import iou
from evaluation.differences import SAME_IOU, taken, unmatched

LOW_MARGIN, FLICKER, DISAGREEMENT = "low margin", "flicker", "disagreement"
REASONS = (LOW_MARGIN, FLICKER, DISAGREEMENT)
MARGIN = 0.4
"""A box is unsure whose confidence is within this part of the threshold, above it or below."""
TOUCHING = 0.1
"""The IoU of a box with itself a frame later, at the least."""


@dataclass(frozen=True)
class Judged:
    """A frame, the boxes above the threshold, and why it is worth labelling (nothing: it is not)."""

    frame: Frame
    found: Detections
    reasons: tuple[str, ...]


class Judge:
    """Judges each frame by those before and after it, so a frame late.

    :param names: the detector's classes.
    :param threshold: the confidence from which a box counts; boxes are asked for from `threshold * (1 - MARGIN)` on.
    """

    def __init__(self, names: Sequence[str], threshold: float) -> None:
        self._names = names
        self._threshold = threshold
        self._last: deque[Judged] = deque(maxlen=2)

    def judge(self, frame: Frame, found: Detections, second: tuple[Detections, Sequence[str]] | None) -> Judged | None:
        """Take a frame's boxes in; return the frame before it, judged, or None for the first one.

        :param frame: not changed until the next call is over.
        :param second: what a second detector found at its own threshold, and its classes.
        """
        sure = taken(found, found.confidence >= self._threshold)
        reasons = []
        if np.any(np.abs(found.confidence - self._threshold) <= MARGIN * self._threshold):
            reasons.append(LOW_MARGIN)
        if second is not None and any(len(rows) for rows in unmatched(sure, self._names, *second, SAME_IOU)):
            reasons.append(DISAGREEMENT)
        judged = None
        if self._last:
            judged = self._last[-1]
            if len(self._last) == 2 and self._flickers(self._last[0].found, judged.found, sure):
                judged = Judged(judged.frame, judged.found, (*judged.reasons, FLICKER))
        self._last.append(Judged(frame, sure, tuple(reasons)))
        return judged

    def _flickers(self, before: Detections, now: Detections, after: Detections) -> bool:
        """Tell whether a box is there before and after and not now, or now alone where others stay."""
        _, came = unmatched(before, self._names, now, self._names, TOUCHING)
        gone, _ = unmatched(now, self._names, after, self._names, TOUCHING)
        if len(np.intersect1d(came, gone)) and len(before) and len(after):
            return True
        lost, _ = unmatched(before, self._names, now, self._names, TOUCHING)
        _, found = unmatched(now, self._names, after, self._names, TOUCHING)
        overlap = iou(before.xyxy[lost], after.xyxy[found])
        same = before.class_id[lost][:, None] == after.class_id[found][None, :]
        return bool(np.any((overlap >= TOUCHING) & same))
