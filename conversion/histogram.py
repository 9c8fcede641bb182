"""A histogram of activations that takes any number of pictures in constant memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BINS = 2048
"""A side. Half of them are filled at the least once a range has settled."""

TINY = 1e-30
"""The narrowest range: float32 cannot hold how many bins of a narrower one make 1."""


class Histogram:
    """Counts of numbers by magnitude, negative and positive apart, with a range that doubles when it must.

    `negative` and `positive` are (BINS,) float64 counts of bins `width` wide, from zero outwards.
    """

    def __init__(self) -> None:
        self.negative = np.zeros(BINS)
        self.positive = np.zeros(BINS)
        self.width = 0.0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count an array of any shape."""
        flat = values.reshape(-1)
        largest = float(max(flat.max(), -flat.min()))
        if not np.isfinite(largest):
            raise FloatingPointError("an activation is no number")
        if not largest:
            self.positive[0] += flat.size
            return
        if not self.width:
            self.width = max(largest, TINY) / BINS * 1.0001
        while largest >= self.width * BINS:
            self.width *= 2
            self.negative, self.positive = _halved(self.negative), _halved(self.positive)
        codes = (flat * np.float32(1 / self.width)).astype(np.int32)  # towards zero
        np.clip(codes, 1 - BINS, BINS - 1, out=codes)
        low = flat < 0
        self.positive += np.bincount(codes[~low], minlength=BINS)
        self.negative += np.bincount(-codes[low], minlength=BINS)

    @staticmethod
    def sum(parts: Sequence[Histogram]) -> Histogram:
        """Return the counts of several, in bins as wide as the widest's."""
        total = Histogram()
        total.width = max((part.width for part in parts), default=0.0)
        for part in parts:
            to = ((np.arange(BINS) + 0.5) * (part.width / total.width if total.width else 0)).astype(int)
            total.positive += np.bincount(to, part.positive, BINS)
            total.negative += np.bincount(to, part.negative, BINS)
        return total

    def values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the middle of every bin, negative ones first, and how many numbers lie in it."""
        middles = (np.arange(BINS) + 0.5) * self.width
        return np.concatenate((-middles, middles)), np.concatenate((self.negative, self.positive))

    def magnitudes(self) -> NDArray[np.float64]:
        """Return the counts of both signs together."""
        return self.negative + self.positive


def _halved(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    pairs = counts.reshape(-1, 2).sum(axis=1)
    return np.concatenate((pairs, np.zeros(BINS - len(pairs))))
