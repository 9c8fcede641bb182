"""From a histogram of activations to the range that its codes should span.

Four ways, by name: `max` cuts nothing; `percentile` cuts the outermost 0.01 %; `mse` makes the mean squared error of
the codes least (the way of NVIDIA's pytorch-quantization and of most papers since); `kl` makes the Kullback-Leibler
divergence of the coded histogram from the histogram least (Migacz, "8-bit inference with TensorRT", GTC 2017), with
every end tried and empty bins kept empty.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from conversion.histogram import Histogram
from conversion.quantization import Range, Scheme

Method = Literal["max", "percentile", "mse", "kl"]
PERCENTILE = 99.99
ENDS = 96
"""How many ends of the range are tried."""
LOWS = 24
"""How many lower ends, where both ends are free."""


def choose(histogram: Histogram, method: Method, scheme: Scheme) -> Range:
    """Return the range by a method.

    A symmetric range is as wide on both sides; an asymmetric one has the ends that suit each side.
    """
    if scheme == "symmetric":
        end = METHODS[method](histogram.magnitudes(), histogram.width, 128)
        return Range(-end, end)
    if method == "mse":
        return _mse_asymmetric(histogram)
    # Each side on its own, with the codes that its share of the range will have.
    low_side, high_side = histogram.negative, histogram.positive
    low_max, high_max = _max(low_side, histogram.width, 0), _max(high_side, histogram.width, 0)
    span = max(low_max + high_max, 1e-12)
    codes = [max(2, round(256 * part / span)) for part in (low_max, high_max)]
    low = METHODS[method](low_side, histogram.width, codes[0]) if low_max else 0.0
    high = METHODS[method](high_side, histogram.width, codes[1]) if high_max else 0.0
    return Range(-low, high)


def _max(counts: NDArray[np.float64], width: float, codes: int) -> float:
    filled = np.flatnonzero(counts)
    return float(filled[-1] + 1) * width if len(filled) else 0.0


def _percentile(counts: NDArray[np.float64], width: float, codes: int) -> float:
    total = counts.sum()
    if not total:
        return 0.0
    return float(np.searchsorted(np.cumsum(counts), total * PERCENTILE / 100) + 1) * width


def _ends(counts: NDArray[np.float64], width: float, n: int = ENDS) -> NDArray[np.float64]:
    return np.linspace(0.1, 1.0, n) * _max(counts, width, 0)


def _mse(counts: NDArray[np.float64], width: float, codes: int) -> float:
    ends = _ends(counts, width)
    if not ends[-1]:
        return 0.0
    centres = (np.arange(len(counts)) + 0.5) * width
    errors = []
    for end in ends:
        step = end / (codes - 1)
        coded = np.minimum(np.rint(centres / step), codes - 1) * step
        errors.append(float(counts @ (coded - centres) ** 2))
    return float(ends[int(np.argmin(errors))])


def _mse_asymmetric(histogram: Histogram) -> Range:
    width = histogram.width
    negative, positive = histogram.negative, histogram.positive
    counts = np.concatenate((negative[::-1], positive))
    centres = (np.arange(len(counts)) - len(negative) + 0.5) * width
    filled = counts > 0
    counts, centres = counts[filled], centres[filled]
    lows = _ends(negative, width, LOWS) if negative.any() else np.zeros(1)
    best, chosen = np.inf, Range(0.0, 0.0)
    for high in _ends(positive, width):
        for low in lows:
            step = (high + low) / 255
            if not step:
                continue
            zero = np.rint(low / step)
            coded = (np.clip(np.rint(centres / step) + zero, 0, 255) - zero) * step
            error = float(counts @ (coded - centres) ** 2)
            if error < best:
                best, chosen = error, Range(-float(low), float(high))
    return chosen


def _kl(counts: NDArray[np.float64], width: float, codes: int) -> float:
    filled = np.flatnonzero(counts)
    if not len(filled):
        return 0.0
    # The first bin holds the zeros and near-zeros of a rectified activation, which any range codes well.
    counts = counts.copy()
    counts[0] = counts[1] if len(counts) > 1 else counts[0]
    last = int(filled[-1]) + 1
    best, end = np.inf, last
    for stop in np.unique(np.linspace(min(codes, last), last, ENDS).astype(int)):
        divergence = _divergence(counts, int(stop), codes)
        if divergence < best:
            best, end = divergence, int(stop)
    return float(end) * width


def _divergence(counts: NDArray[np.float64], stop: int, codes: int) -> float:
    p = counts[:stop].copy()
    p[-1] += counts[stop:].sum()
    inside = counts[:stop]
    code = np.minimum((np.arange(stop) * codes) // stop, codes - 1)
    occupied = inside > 0
    mass = np.bincount(code, weights=inside, minlength=codes)
    share = np.bincount(code, weights=occupied, minlength=codes)
    q = np.where(occupied, mass[code] / np.maximum(share[code], 1), 0.0)
    p /= max(p.sum(), 1e-12)
    q /= max(q.sum(), 1e-12)
    some = p > 0
    return float((p[some] * np.log(p[some] / np.maximum(q[some], 1e-9))).sum())


METHODS: dict[Method, Callable[[NDArray[np.float64], float, int], float]] = {
    "max": _max,
    "percentile": _percentile,
    "mse": _mse,
    "kl": _kl,
}
"""What each method makes of counts by magnitude, a bin's width and the codes it may use."""
