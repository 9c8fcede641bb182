"""The bootstrap: how sure a mean or a percentile is, as 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = (2.5, 97.5)
"""The percentiles that bound an interval."""


def mean_interval(values: Sequence[float | None], seed: int = 0) -> dict[str, float] | None:
    """Return mean, low and high of independent values; None when there are none.

    :param values: None stands for a value that does not exist, and is left out.
    """
    known = np.array([v for v in values if v is not None], np.float64)
    if not len(known):
        return None
    picks = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    low, high = np.percentile(known[picks].mean(axis=1), LEVEL)
    return {"mean": round(float(known.mean()), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def bounds(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """Return the interval that resampled values lie in."""
    low, high = np.percentile(drawn, LEVEL)
    return float(low), float(high)


def resampled_percentile(
    values: NDArray[np.float64],
    counts: NDArray[np.int64],
    part: float,
    block: int,
    grain: float,
    resamples: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return a percentile of resamples of a histogram, (resamples,).

    :param values: the buckets' middles; `counts` how often each came.
    :param part: the percentile, 0 to 1.
    :param block: so many neighbours in time count as one independent value.
    :param grain: half a bucket's width over its value, within which values lie anywhere.
    """
    total = int(counts.sum())
    independent = max(1, total // block)
    again = rng.multinomial(independent, counts / total, resamples)
    ranks = (np.cumsum(again, axis=1) < part * independent).sum(axis=1)
    return values[np.minimum(ranks, len(values) - 1)] * rng.uniform(1 - grain, 1 + grain, resamples)


def described(value: dict[str, float] | None) -> str:
    """Return a mean and its interval as text; `-` for None."""
    if value is None:
        return "-"
    digits = 1 if value["mean"] >= 10 else 2
    return f"{value['mean']:.{digits}f} ({value['low']:.{digits}f} to {value['high']:.{digits}f})"
