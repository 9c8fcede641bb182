"""How sure an AP is, and a difference between two: the bootstrap over pictures, paired where two are compared.

Pictures are matched with their truth once, by pycocotools; a resample only weighs the matches anew, and where every
picture weighs 1 the figure is COCO's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.boxes import Rows
from evaluation.accuracy import matched
from evaluation.datasets import Annotated
from evaluation.statistics import bounds

RESAMPLES = 400
RECALLS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval, points."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """Return it as reports have it."""
        return {"mean": round(self.value, 2), "low": round(self.low, 2), "high": round(self.high, 2)}

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class _Class:
    """What was found of one class, best first: in which picture, right or wrong by threshold of IoU; and the truths."""

    picture: NDArray[np.intp]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    truths: NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """Predictions matched with the truth of `pictures` pictures."""

    pictures: int
    classes: tuple[_Class, ...]

    def ap(self, weights: NDArray[np.float64], thresholds: slice = slice(None)) -> NDArray[np.float64]:
        """Return AP, points, for each row of weights of the pictures, (rows,).

        :param thresholds: of the ten thresholds of IoU; the first is 0.5.
        """
        if not self.classes:
            return np.zeros(len(weights))
        values = np.array([_ap(each, weights, thresholds) for each in self.classes])
        there = np.isfinite(values)  # a resample may lack a class
        return 100 * np.nansum(values, axis=0) / np.maximum(there.sum(axis=0), 1)


def match(found: Sequence[Rows], images: Sequence[Annotated]) -> Matches:
    """Match predictions, made at `evaluation.accuracy`'s `CONFIDENCE` and `NMS`, with annotations."""
    return of_scoring(matched(found, images), images)


def of_scoring(scoring: Any, images: Sequence[Annotated]) -> Matches:
    """Return the same of what `evaluation.accuracy.matched` made of them."""
    if scoring is None:
        counts = [(c, [int(((i.classes == c) & ~i.crowd).sum()) for i in images]) for c in _present(images)]
        nothing = np.zeros((10, 0), bool)
        classes = [_Class(np.zeros(0, np.intp), nothing, nothing, np.array(n)) for _, n in counts if any(n)]
        return Matches(len(images), tuple(classes))
    ids = list(scoring.params.imgIds)
    areas = len(scoring.params.areaRng)
    classes = []
    for k in range(len(scoring.params.catIds)):
        first = k * areas * len(ids)
        made = _class(scoring.evalImgs[first : first + len(ids)])
        if made.truths.any():
            classes.append(made)
    return Matches(len(images), tuple(classes))


def _present(images: Sequence[Annotated]) -> list[int]:
    return sorted({int(c) for image in images for c in image.classes})


def _class(rows: Sequence[Any]) -> _Class:
    truths = np.array([0 if row is None else int((row["gtIgnore"] == 0).sum()) for row in rows])
    some = [(i, row) for i, row in enumerate(rows) if row is not None and len(row["dtScores"])]
    if not some:
        return _Class(np.zeros(0, np.intp), np.zeros((10, 0), bool), np.zeros((10, 0), bool), truths)
    scores = np.concatenate([row["dtScores"] for _, row in some])
    order = np.argsort(-scores, kind="mergesort")  # as pycocotools sorts
    picture = np.concatenate([np.full(len(row["dtScores"]), i) for i, row in some])[order]
    hit = np.concatenate([row["dtMatches"] > 0 for _, row in some], axis=1)[:, order]
    counted = ~np.concatenate([row["dtIgnore"].astype(bool) for _, row in some], axis=1)[:, order]
    return _Class(picture, hit & counted, ~hit & counted, truths)


def _ap(each: _Class, weights: NDArray[np.float64], thresholds: slice) -> NDArray[np.float64]:
    """Return the AP of a class, 0 to 1, for each row of weights; not a number where a row has no truth of it."""
    count = weights @ each.truths
    total = np.zeros(len(weights))
    used = range(10)[thresholds]
    mine = weights[:, each.picture]
    for t in used:
        right, wrong = np.cumsum(mine * each.right[t], axis=1), np.cumsum(mine * each.wrong[t], axis=1)
        precision = right / np.maximum(right + wrong, np.spacing(1))
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        recall = right / np.maximum(count, 1e-12)[:, None]
        for row in range(len(weights)):
            at = np.searchsorted(recall[row], RECALLS, side="left")
            inside = at < recall.shape[1]
            total[row] += precision[row, at[inside]].sum() / len(RECALLS)
    return np.where(count > 0, total / len(used), np.nan)


AP50 = slice(0, 1)


def interval(matches: Matches, thresholds: slice = slice(None), seed: int = 0) -> Interval:
    """Return AP with its interval."""
    return _around(_value(matches, thresholds), matches.ap(_weights(matches.pictures, seed), thresholds))


def difference(a: Matches, b: Matches, thresholds: slice = slice(None), seed: int = 0) -> Interval:
    """Return AP of `a` above that of `b`, on the same pictures."""
    weights = _weights(a.pictures, seed)
    drawn = a.ap(weights, thresholds) - b.ap(weights, thresholds)
    return _around(_value(a, thresholds) - _value(b, thresholds), drawn)


def _around(value: float, drawn: NDArray[np.float64]) -> Interval:
    """Return the interval, less the bootstrap's own bias: a class that a resample lacks is left out of its mean."""
    return Interval(value, *bounds(drawn - drawn.mean() + value))


def _value(matches: Matches, thresholds: slice) -> float:
    return float(matches.ap(np.ones((1, matches.pictures)), thresholds)[0])


def _weights(pictures: int, seed: int) -> NDArray[np.float64]:
    share = np.full(pictures, 1 / pictures)
    return np.random.default_rng(seed).multinomial(pictures, share, RESAMPLES).astype(np.float64)
