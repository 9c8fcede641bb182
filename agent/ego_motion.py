"""Watches what the picture does after known motions, and keeps the mouse's scale and delay up to date during a run.

A wrong sensitivity, one that is changed in mid-run and a zoomed scope all show in the same way: the picture moves by
more or less for a count than it should, and sooner or later. From frame to frame the picture's shift is measured on
profiles of a few bands; a second or two of them are fitted to the counts that were sent, for each delay that may be,
and the best is taken over step by step. Everything is reckoned from pictures, counts and their recorded times, so that
a replay decides the same.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.calibration import Calibration
from agent.history import CommandHistory
from agent.types import Frame

Array = NDArray[np.float64]

SMALL = 160
"""The width that pictures are compared at, pixels."""
BANDS = 6
AROUND, SMOOTH, FLAT = 21, 1.3, 0.02
"""The neighbourhood that a profile is flattened by, how much it is smoothed, pixels, and the spread of nothing, grey
levels."""
PART = 0.62
"""The upper part of the picture that counts: what one holds is drawn over the rest."""
REACH = 0.3
"""The largest shift from frame to frame that is looked for, as a part of the width."""
SURE, CLEAR, APART = 0.25, 0.1, 6
"""How well profiles correlate at the least, and how much better than at any shift that is so far from the best."""
WINDOW, EVERY = 80, 8
"""Frames that are fitted together, and how many come between two fits."""
LONGEST_GAP_NS = 250_000_000
DELAYS_NS = np.arange(0, 400_000_001, 8_000_000)
"""The delays that are tried."""
FEWEST_MOVED, MOVED_PX = 8, 1.0
"""A fit needs so many frames in which the picture should have moved by so much, pixels of the small picture."""
TRUSTED, CLEARER, ALIKE = 0.8, 0.05, 0.003
"""How well the shifts follow the counts at least, how much better than by what is believed so far, and what is no
difference."""
DEAD_SCALE, DEAD_DELAY_NS = 0.03, 12_000_000
"""A fit that differs by less is noise."""
STEP = 0.5
"""The part of a difference that a fit takes over."""
BOUND = 8.0
"""The largest factor by which the scale may be off from the profile's."""


@dataclass
class MotionEstimator:
    """Owned by the host; it corrects the command history's scale and delay, which selections and controllers read.

    :param calibration: as the profile has it.
    """

    calibration: Calibration
    history: CommandHistory
    updates: int = 0
    _lens: Lens | None = field(default=None, init=False)
    _last: tuple[int, Array, Array] | None = field(default=None, init=False)
    _seen: deque[tuple[int, int, float, float]] = field(default_factory=lambda: deque(maxlen=WINDOW), init=False)
    _sent: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=4 * WINDOW), init=False)
    _count: int = field(default=0, init=False)

    def begin(self, episode: int) -> None:
        """Forget the pictures: a new episode begins. What was learnt of game and mouse holds on."""
        self._last = None
        self._seen.clear()
        self._sent.clear()

    def see(self, frame: Frame) -> None:
        """Take a frame in, before anything is decided on it."""
        if self._lens is None or self._lens.size != (frame.height, frame.width):
            self._lens = Lens(frame.height, frame.width, self.calibration.focal_px(frame.width))
            self._last = None
        columns, rows = self._lens.profiles(frame.pixels)
        last, self._last = self._last, (frame.at_ns, columns, rows)
        if last is None or not 0 < frame.at_ns - last[0] < LONGEST_GAP_NS:
            return
        # What turns right moves to the left.
        self._seen.append((last[0], frame.at_ns, -shift(last[1], columns), -shift(last[2], rows)))
        self._count += 1
        if self._count % EVERY == 0 and len(self._sent) >= FEWEST_MOVED:
            self._fit()

    def sent(self, dx: int, dy: int, sent_ns: int) -> None:
        """Take note of a motion that was carried out."""
        if dx or dy:
            self._sent.append((sent_ns, dx, dy))

    def to_dict(self) -> dict[str, float | int]:
        """Return what was learnt, for the report."""
        x, y = self.history.scale
        return {
            "scale_right": round(x, 3),
            "scale_down": round(y, 3),
            "delay_ms": round(self.history.delay_ns / 1e6, 1),
            "updates": self.updates,
        }

    def _fit(self) -> None:
        per_count = self.calibration.per_count
        assert per_count is not None
        seen, sent = np.array(self._seen, np.float64), np.array(self._sent, np.float64)
        history, lens = self.history, self._lens
        assert lens is not None
        # The last row is what is believed so far.
        delays = np.append(DELAYS_NS, history.delay_ns).astype(np.float64)[:, None]
        now, then = (np.searchsorted(sent[:, 0], times - delays, side="right") for times in (seen[:, 1], seen[:, 0]))
        scale, delay_ns, heard = list(history.scale), float(history.delay_ns), False
        for axis in (0, 1):
            turned = np.concatenate(([0.0], np.cumsum(sent[:, 1 + axis])))
            moved = seen[:, 2 + axis]
            known = ~np.isnan(moved)
            expected = (turned[now] - turned[then])[:, known] * math.radians(per_count[axis]) * lens.focal
            factors, qualities = fitted(expected, moved[known])
            # Pictures come now and then, so that several delays explain them alike: the middle one is taken.
            alike = np.flatnonzero(qualities[:-1] >= qualities[:-1].max() - ALIKE)
            best = int(alike[len(alike) // 2])
            if qualities[best] < TRUSTED or not 1 / BOUND <= factors[best] <= BOUND:
                continue
            away_ns = float(delays[best, 0]) - history.delay_ns
            if qualities[best] - qualities[-1] > CLEARER and abs(away_ns) > DEAD_DELAY_NS:
                delay_ns, heard = history.delay_ns + STEP * away_ns, True
            if abs(factors[best] / scale[axis] - 1) > DEAD_SCALE:
                scale[axis] += STEP * (float(factors[best]) - scale[axis])
                heard = True
        if heard:
            history.correct((scale[0], scale[1]), int(delay_ns))
            self.updates += 1


class Lens:
    """Takes profiles of pictures as on a cylinder, where a turn moves everything by the same.

    :param focal_px: of the pictures, pixels.
    """

    def __init__(self, height: int, width: int, focal_px: float) -> None:
        self.size = (height, width)
        step = max(1, width // SMALL)
        self.focal = focal_px / step
        self._columns = _cylinder(width, focal_px, step)
        self._rows = _cylinder(height, focal_px, step)
        self._upper = self._rows[: int(len(self._rows) * PART)]

    def profiles(self, pixels: NDArray[np.uint8]) -> tuple[Array, Array]:
        """Return the picture's columns and rows, float64 (BANDS, n) each: means over bands of its upper part."""
        small = pixels[..., 1][np.ix_(self._upper, self._columns)].astype(np.float32)
        height, width = small.shape
        columns = small[: height // BANDS * BANDS].reshape(BANDS, -1, width).mean(axis=1)
        rows = small[:, : width // BANDS * BANDS].reshape(height, BANDS, -1).mean(axis=2).T
        return _flattened(columns), _flattened(np.ascontiguousarray(rows))


def _cylinder(size: int, focal_px: float, step: int) -> NDArray[np.intp]:
    """Return the places that are a step's angle apart, pixels."""
    middle = (size - 1) / 2
    most = math.atan(middle / focal_px)
    count = int(2 * most * focal_px / step)
    angles = np.linspace(-1, 1, count) * (count - 1) / 2 * step / focal_px
    return np.clip(np.rint(focal_px * np.tan(angles) + middle), 0, size - 1).astype(np.intp)


def _flattened(profile: NDArray[np.float32]) -> Array:
    """Return profiles smoothed, without their slow changes and by their local spread."""
    away = profile - cv2.blur(profile, (AROUND, 1))
    smooth = cv2.GaussianBlur(away, (5, 1), SMOOTH)
    spread = np.sqrt(cv2.blur(smooth * smooth, (AROUND, 1))) + FLAT
    return np.asarray(smooth / spread, np.float64)


def shift(a: Array, b: Array) -> float:
    """Return by how many pixels b's profiles lie to the right of (below) a's; NaN where that is not sure."""
    n = a.shape[1]
    length = 2 * n
    fa, fb = np.fft.rfft(a, length, axis=1), np.fft.rfft(b, length, axis=1)
    covariance = np.fft.irfft((fa.conj() * fb).sum(axis=0), length)
    reach = int(REACH * n)
    lags = np.arange(-reach, reach + 1)
    square_a = np.concatenate(([0.0], np.cumsum((a * a).sum(axis=0))))
    square_b = np.concatenate(([0.0], np.cumsum((b * b).sum(axis=0))))
    start, end = np.maximum(0, -lags), np.minimum(n, n - lags)  # of a, which overlaps with b
    energy = (square_a[end] - square_a[start]) * (square_b[end + lags] - square_b[start + lags])
    scores = covariance[lags] / np.sqrt(np.maximum(energy, 1e-3))
    best = int(np.argmax(scores))
    others = np.delete(scores, slice(max(0, best - APART), best + APART + 1))
    if not 0 < best < len(lags) - 1 or scores[best] < SURE or scores[best] - others.max() < CLEAR:
        return math.nan
    before, at, after = scores[best - 1], scores[best], scores[best + 1]
    bend = before - 2 * at + after
    return float(lags[best] + (0.5 * (before - after) / bend if bend < 0 else 0.0))


def fitted(expected: Array, moved: Array) -> tuple[Array, Array]:
    """Return the factor from each row of what was expected to what was seen, and how well it follows.

    The worst 15 % are left out: somebody ran through the picture, or one was moved.

    :param expected: (m, n); `moved` (n,).
    :return: factors and their correlations, (m,) both; 0 where too little was to move.
    """
    enough = (np.abs(expected) > MOVED_PX).sum(axis=1) >= FEWEST_MOVED
    kept = np.ones_like(expected)
    for _ in range(2):
        square = np.maximum((kept * expected * expected).sum(axis=1), 1e-9)
        factors = (kept * expected * moved).sum(axis=1) / square
        misses = np.abs(moved - factors[:, None] * expected)
        if misses.shape[1] == 0:
            return factors, np.zeros(len(factors))
        kept = (misses <= np.percentile(misses, 85, axis=1, keepdims=True)).astype(np.float64)
    square = np.maximum((kept * expected * expected).sum(axis=1), 1e-9)
    factors = (kept * expected * moved).sum(axis=1) / square
    length = np.maximum((kept * moved * moved).sum(axis=1), 1e-9)
    return factors, np.where(enough, factors * np.sqrt(square / length), 0.0)
