"""How far what one engine finds is from what another finds, candidate by candidate.

Every candidate box that either gives a score above `SEEN` counts: how much its scores differ, and how far its boxes are
apart (1 - IoU, weighed by the score). In parts of all the scores that the reference gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.geometry import iou
from engine.boxes import Table

SEEN = 0.02


def distance(true: Table, given: Table, ordered: bool = True) -> tuple[float, float]:
    """Return the error and the reference's scores.

    :param ordered: whether a candidate has its place in both tables; else each is looked for in the other by class and
        overlap, the most confident first.
    """
    if not ordered:
        true, given = _paired(true, given)
    seen = np.maximum(true[1].max(axis=1, initial=0), given[1].max(axis=1, initial=0)) > SEEN
    (a, p), (b, q) = ((boxes[seen], scores[seen]) for boxes, scores in (true, given))
    counted = np.maximum(p, q) > SEEN
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
    apart = 1 - shared / np.maximum(union, 1e-9)
    weight = np.minimum(p.max(axis=1, initial=0), q.max(axis=1, initial=0))
    return float((np.abs(p - q) * counted).sum() + (weight * apart).sum()), float((p * counted).sum())


def _paired(true: Table, given: Table) -> tuple[Table, Table]:
    """Return both tables in one order, a row for each candidate of either; one that is missing has no score."""
    boxes, scores = given
    overlap = iou(true[0], boxes) if len(boxes) and len(true[0]) else np.zeros((len(true[0]), len(boxes)))
    same = true[1].argmax(axis=1)[:, None] == scores.argmax(axis=1)[None] if len(boxes) else overlap
    overlap = np.where(same, overlap, 0)
    partner = np.full(len(true[0]), -1)
    free = np.ones(len(boxes), bool)
    for i in np.argsort(-true[1].max(axis=1, initial=0)):
        row: Any = overlap[i] * free
        if len(row) and row.max() > 0:
            partner[i] = int(row.argmax())
            free[partner[i]] = False
    found = partner >= 0
    matched, strengths = true[0].copy(), np.zeros_like(true[1])
    matched[found], strengths[found] = boxes[partner[found]], scores[partner[found]]
    rest, left = boxes[free], scores[free]
    one = np.concatenate((true[0], rest)), np.concatenate((true[1], np.zeros_like(left)))
    return one, (np.concatenate((matched, rest)), np.concatenate((strengths, left)))
