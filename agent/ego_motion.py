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
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.calibration import Calibration
from agent.history import CommandHistory
from agent.types import Frame

Array = NDArray[np.float64]
Bands = NDArray[np.float32]
"""Profiles of a picture, (BANDS, n)."""

SMALLEST_PX = 96
"""Pictures that are lower or narrower show too little."""
SMALL = 160
"""The width that pictures are compared at, pixels."""
BANDS = 6
AROUND, SMOOTH, FLAT = 21, 1.3, 0.02
"""The neighbourhood that a profile is flattened by, how much it is smoothed, pixels, and the spread of nothing, grey
levels."""
PART = 0.62
"""The upper part of the picture that counts: what one holds is drawn over the rest."""
ANOTHER_DEG, VIEWS, FEWEST_VIEWS = 6.0, 32, 12
"""Another view, degrees of turning; how many make the mean of what stands still through all of them, and of how many at
the least it is no longer the scene itself."""
REACH = 0.3
"""The largest shift from frame to frame that is looked for, as a part of the width."""
SURE, CLEAR, APART = 0.25, 0.1, 6
"""How well profiles correlate at the least, and how much better than at any shift that is so far from the best."""
SPACING_NS = 30_000_000
"""Frames that follow each other sooner are passed over."""
WINDOW, EVERY = 60, 5
"""Frames that are fitted together, and how many come between two fits."""
LONGEST_GAP_NS = 250_000_000
DELAYS_NS = np.arange(0, 400_000_001, 8_000_000)
"""The delays that are tried."""
BLOCK = 2
"""Frames that are taken together."""
LEVEL, FEWEST_LEVEL, COMPARED_PX, COMPARED_EVERY = (0.85, 1.25), 4, 1.5, 3
"""Looking up, a turn moves what is higher in the picture by less than what is lower; looking down, by more. One looks
level enough where the median ratio of the upper half's shifts to the lower half's lies between the first two (from 17
degrees up to 28 down, at 90 degrees of view and 4:3), over so many shifts or more of the lower half by so much. Every
third frame is compared so, which costs two shifts more."""
DEAF_PX, STILL_PX = 4.0, 0.4
"""Where the picture should have moved by so much and did not by so much, it does not answer."""
FEWEST_MOVED, MOVED_PX = 10, 3.0
"""A fit needs so many blocks in which the picture moved, or should have, by so much, pixels of the small picture."""
TRUSTED, CLEARER, ALIKE = 0.9, 0.05, 0.003
"""How well the shifts follow the counts at least, how much better than by what is believed so far, and what is no
difference."""
WRONG_SCALE = 0.25
"""A scale is left alone until fits differ from it by more: they may be 10 % off, and in a bad half minute 20, where
`calibrate` is not off by 1. From then on it is corrected until they agree with it."""
DEAD_SCALE, DEAD_DELAY_NS = 0.03, 12_000_000
"""A fit that differs by less is noise."""
FITS, OF_THEIR_OWN, TOGETHER = 3, 30, 400
"""So many fits must agree, each with at least so many frames that the one after it does not have, and all within so
many: fits in turn are of nearly the same frames, and a bad moment would agree with itself."""
AGREE, AGREE_NS = 0.1, 16_000_000
"""How well."""
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
    _vertical: bool = field(default=False, init=False)
    _last: tuple[int, Bands, Bands | None] | None = field(default=None, init=False)
    _seen: deque[tuple[int, int, float, float, float, float]] = field(
        default_factory=lambda: deque(maxlen=WINDOW), init=False
    )
    _sent: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=4 * WINDOW), init=False)
    _fits: tuple[deque[_Fit], deque[_Fit]] = field(
        default_factory=lambda: (deque(maxlen=TOGETHER // EVERY), deque(maxlen=TOGETHER // EVERY)), init=False
    )
    _count: int = field(default=0, init=False)
    _turned_deg: float = field(default=0.0, init=False)
    _overlay: list[Bands | float] = field(default_factory=lambda: [0.0, 0.0], init=False)
    _level: bool = field(default=True, init=False)
    _correcting: list[bool] = field(default_factory=lambda: [False, False], init=False)
    _views: list[int] = field(default_factory=lambda: [0, 0], init=False)

    def begin(self, episode: int) -> None:
        """Forget the pictures: a new episode begins. What was learnt of game and mouse holds on."""
        self._last = None
        self._seen.clear()
        self._sent.clear()
        self._level = True

    def see(self, frame: Frame) -> None:
        """Take a frame in, before anything is decided on it."""
        if self._last is not None and 0 < frame.at_ns - self._last[0] < SPACING_NS:
            return
        if min(frame.width, frame.height) < SMALLEST_PX:
            return
        if self._lens is None or self._lens.size != (frame.height, frame.width):
            self._lens = Lens(frame.height, frame.width, self.calibration.focal_px(frame.width))
            self._last = None
            self._overlay, self._views = [0.0, 0.0], [0, 0]
        columns = self._lens.columns(frame.pixels)
        rows = self._lens.rows(frame.pixels) if self._vertical else None
        self._look_for_overlays(columns, rows)
        last, self._last = self._last, (frame.at_ns, columns, rows)
        if last is None or not 0 < frame.at_ns - last[0] < LONGEST_GAP_NS:
            return
        still, still_rows = (
            mean if views >= FEWEST_VIEWS else 0.0 for mean, views in zip(self._overlay, self._views, strict=True)
        )
        # What turns right moves to the left.
        down = math.nan if rows is None or last[2] is None else -shift(last[2] - still_rows, rows - still_rows)
        before, now = last[1] - still, columns - still
        right, upper, lower = -shift(before, now), math.nan, math.nan
        self._count += 1
        if self._count % COMPARED_EVERY == 0 and abs(right) > COMPARED_PX:
            half = BANDS // 2
            upper, lower = -shift(before[:half], now[:half]), -shift(before[half:], now[half:])
        self._seen.append((last[0], frame.at_ns, right, down, upper, lower))
        if self._count % EVERY == 0 and len(self._sent) >= FEWEST_MOVED:
            self._fit()

    def sent(self, dx: int, dy: int, sent_ns: int) -> None:
        """Take note of a motion that was carried out."""
        if dx or dy:
            self._sent.append((sent_ns, dx, dy))
            self._vertical |= dy != 0
            right, down = self.calibration.per_count or (0.0, 0.0)
            self._turned_deg += abs(dx * right) + abs(dy * down)

    def to_dict(self) -> dict[str, float | int]:
        """Return what was learnt, for the report."""
        x, y = self.history.scale
        return {
            "scale_right": round(x, 3),
            "scale_down": round(y, 3),
            "delay_ms": round(self.history.delay_ns / 1e6, 1),
            "updates": self.updates,
        }

    def _look_for_overlays(self, columns: Bands, rows: Bands | None) -> None:
        """Keep the mean of what different views show: what does not turn with them remains in it."""
        if self._turned_deg < ANOTHER_DEG:
            return
        self._turned_deg = 0.0
        for i, profile in enumerate((columns, rows)):
            if profile is not None:
                self._views[i] += 1
                share = np.float32(1 / min(self._views[i], VIEWS))
                self._overlay[i] = self._overlay[i] + (profile - self._overlay[i]) * share

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
        looks_level = level(seen[:, 4], seen[:, 5])
        self._level = self._level if looks_level is None else looks_level
        for axis in (0, 1) if self._level else (1,):
            turned = np.concatenate(([0.0], np.cumsum(sent[:, 1 + axis])))
            moved = seen[:, 2 + axis]
            expected = (turned[now] - turned[then]) * math.radians(per_count[axis]) * lens.focal
            factors, qualities = fitted(*together(expected, moved, seen[:, 0], seen[:, 1]))
            # Pictures come now and then, so that several delays explain them alike: the middle one is taken.
            alike = np.flatnonzero(qualities[:-1] >= qualities[:-1].max() - ALIKE)
            best = int(alike[len(alike) // 2])
            if qualities[best] < TRUSTED or not 1 / BOUND <= factors[best] <= BOUND:
                continue
            clearer = bool(qualities[best] - qualities[-1] > CLEARER)
            self._fits[axis].append(_Fit(self._count, float(factors[best]), float(delays[best, 0]), clearer))
            apart = _apart(self._fits[axis])
            if len(apart) < FITS:
                continue
            late = sorted(fit.delay_ns for fit in apart)
            if late[-1] - late[0] <= AGREE_NS and all(fit.clearer for fit in apart):
                away_ns = late[FITS // 2] - history.delay_ns
                if abs(away_ns) > DEAD_DELAY_NS:
                    delay_ns, heard = history.delay_ns + STEP * away_ns, True
            factor = sorted(fit.factor for fit in apart)
            if factor[-1] / factor[0] - 1 <= AGREE:
                middle = factor[FITS // 2]
                off = max(middle, scale[axis]) / min(middle, scale[axis]) - 1
                self._correcting[axis] = off > (DEAD_SCALE if self._correcting[axis] else WRONG_SCALE)
                if self._correcting[axis]:
                    scale[axis] += STEP * (middle - scale[axis])
                    heard = True
        if heard:
            history.correct((scale[0], scale[1]), int(delay_ns))
            self.updates += 1


@dataclass(frozen=True)
class _Fit:
    """What a window said of an axis, and whether its delay explains the pictures better than the one believed."""

    count: int
    factor: float
    delay_ns: float
    clearer: bool


def _apart(fits: Sequence[_Fit]) -> list[_Fit]:
    """Return the newest fit, and before it up to FITS - 1 that have frames of their own; all within TOGETHER."""
    found = [fits[-1]]
    for fit in reversed(fits):
        if len(found) < FITS and found[-1].count - fit.count >= OF_THEIR_OWN:
            found.append(fit)
    return [fit for fit in found if fits[-1].count - fit.count <= TOGETHER]


class Lens:
    """Takes profiles of pictures as on a cylinder, where a turn moves everything by the same.

    :param focal_px: of the pictures, pixels.
    """

    def __init__(self, height: int, width: int, focal_px: float) -> None:
        self.size = (height, width)
        step = max(1, width // SMALL)
        self.focal = focal_px / step
        self._step = step
        upper = int(height * PART) // (2 * step * BANDS) * (2 * step * BANDS)
        self._upper, self._wide = upper, width // (4 * step * BANDS) * (4 * step * BANDS)
        self._columns = _cylinder(len(range(0, width, step)), self.focal)
        self._rows = _cylinder(len(range(0, height, step)), self.focal)
        self._rows = self._rows[self._rows < upper // step]

    def columns(self, pixels: NDArray[np.uint8]) -> Bands:
        """Return the picture's columns, float32 (BANDS, n): means over bands of its upper part."""
        small = pixels[: self._upper : 2 * self._step, :: self._step, 1].astype(np.float32)
        return _flattened(small.reshape(BANDS, -1, small.shape[1]).mean(axis=1)[:, self._columns])

    def rows(self, pixels: NDArray[np.uint8]) -> Bands:
        """Return its rows likewise."""
        small = pixels[: self._upper : self._step, : self._wide : 4 * self._step, 1].astype(np.float32)
        bands = small.reshape(small.shape[0], BANDS, -1).mean(axis=2).T
        return _flattened(np.ascontiguousarray(bands[:, self._rows]))


def _cylinder(size: int, focal: float) -> NDArray[np.intp]:
    """Return the places that are the same angle apart, a pixel's in the middle."""
    middle = (size - 1) / 2
    count = int(2 * math.atan(middle / focal) * focal)
    angles = (np.arange(count) - (count - 1) / 2) / focal
    return np.clip(np.rint(focal * np.tan(angles) + middle), 0, size - 1).astype(np.intp)


def _flattened(profile: Bands) -> Bands:
    """Return profiles smoothed, without their slow changes and by their local spread."""
    away = profile - cv2.blur(profile, (AROUND, 1))
    smooth = cv2.GaussianBlur(away, (5, 1), SMOOTH)
    spread = np.sqrt(np.maximum(cv2.blur(smooth * smooth, (AROUND, 1)), 0)) + np.float32(FLAT)
    return np.asarray(smooth / spread, np.float32)


@cache
def _lags(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the shifts that are looked for between profiles of n places, and what part of the first they share."""
    reach = int(REACH * n)
    lags = np.arange(-reach, reach + 1)
    return lags, np.maximum(0, -lags), np.minimum(n, n - lags)


def shift(a: Bands, b: Bands) -> float:
    """Return by how many pixels b's profiles lie to the right of (below) a's; NaN where that is not sure."""
    bands, n = a.shape
    lags, start, end = _lags(n)
    reach = len(lags) // 2
    padded = np.zeros((bands, n + 2 * reach), np.float32)
    padded[:, reach : reach + n] = b
    scores = cv2.matchTemplate(padded, a, cv2.TM_CCORR)[0]
    square_a, square_b = np.zeros(n + 1), np.zeros(n + 1)
    np.cumsum(np.einsum("ij,ij->j", a, a), out=square_a[1:])
    np.cumsum(np.einsum("ij,ij->j", b, b), out=square_b[1:])
    energy = (square_a[end] - square_a[start]) * (square_b[end + lags] - square_b[start + lags])
    scores /= np.sqrt(np.maximum(energy, 1e-3))
    best = int(np.argmax(scores))
    score = float(scores[best])
    elsewhere = (scores[: max(0, best - APART)], scores[best + APART + 1 :])
    others = max((float(part.max()) for part in elsewhere if len(part)), default=math.inf)  # none: too small a picture
    if not score >= SURE or score - others < CLEAR:
        return math.nan
    lag = best - reach
    here, there = a[:, max(0, -lag) : n - max(0, lag)], b[:, max(0, lag) : n - max(0, -lag)]
    # What is left is less than a pixel: one step of Lucas and Kanade's.
    both = here + there
    slope = both[:, 2:] - both[:, :-2]
    rest = -4 * float(np.vdot(slope, (there - here)[:, 1:-1])) / max(float(np.vdot(slope, slope)), 1e-9)
    return lag + max(-0.7, min(0.7, rest))


def level(upper: Array, lower: Array) -> bool | None:
    """Tell by the shifts of the picture's upper and lower half whether one looks neither steeply up nor down.

    None where too few are known: a dark sky tells nothing.

    :param upper: (n,), pixels, NaN where not known; `lower` too.
    """
    known = ~np.isnan(upper) & (np.abs(np.nan_to_num(lower)) > COMPARED_PX)
    if known.sum() < FEWEST_LEVEL:
        return None
    return bool(LEVEL[0] <= np.median(upper[known] / lower[known]) <= LEVEL[1])


def together(expected: Array, moved: Array, before_ns: Array, at_ns: Array) -> tuple[Array, Array]:
    """Return the sums of each BLOCK frames that follow each other, where all of their shifts are known.

    A motion may show a frame sooner or later than it should, as game, loop and screen each have a beat of their own.

    :param expected: (m, n); `moved`, `before_ns` and `at_ns` (n,).
    """
    follows = np.concatenate(([True], before_ns[1:] == at_ns[:-1])) & ~np.isnan(moved)
    broken = np.concatenate(([0], np.cumsum(~follows)))
    whole = broken[BLOCK:] == broken[:-BLOCK]
    sums = np.concatenate((np.zeros((len(expected), 1)), np.cumsum(expected, axis=1)), axis=1)
    shifts = np.concatenate(([0.0], np.cumsum(np.nan_to_num(moved))))
    return (sums[:, BLOCK:] - sums[:, :-BLOCK])[:, whole], (shifts[BLOCK:] - shifts[:-BLOCK])[whole]


def fitted(expected: Array, moved: Array) -> tuple[Array, Array]:
    """Return the factor from each row of what was expected to what was seen, and how well it follows.

    Left out are the worst 15 % (somebody ran through the picture, or one was moved) and what does not answer at all:
    the dead do not turn. The factor is the ratio of both root mean squares (reduced major axis): a motion that shows a
    frame sooner or later than expected is noise on either side, by which least squares would be too low.

    :param expected: (m, n); `moved` (n,).
    :return: factors and their correlations, (m,) both; 0 where too little was to move.
    """
    if not len(moved):
        return np.ones(len(expected)), np.zeros(len(expected))
    answers = ~((np.abs(expected) > DEAF_PX) & (np.abs(moved) < STILL_PX))
    much = (np.abs(expected) > MOVED_PX) | (np.abs(moved) > MOVED_PX) & (np.abs(expected) > STILL_PX)
    enough = (answers & much).sum(axis=1) >= FEWEST_MOVED
    kept = answers.astype(np.float64)
    for _ in range(2):
        square = np.maximum((kept * expected * expected).sum(axis=1), 1e-9)
        factors = (kept * expected * moved).sum(axis=1) / square
        misses = np.abs(moved - factors[:, None] * expected)
        misses[~answers] = np.inf
        limit = np.sort(misses, axis=1)[
            np.arange(len(misses)), np.maximum(0, (0.85 * answers.sum(axis=1)).astype(int) - 1)
        ]
        kept = (misses <= limit[:, None]).astype(np.float64) * answers
    square = np.maximum((kept * expected * expected).sum(axis=1), 1e-9)
    length = np.maximum((kept * moved * moved).sum(axis=1), 1e-9)
    correlations = (kept * expected * moved).sum(axis=1) / np.sqrt(square * length)
    return np.sign(correlations) * np.sqrt(length / square), np.where(enough, correlations, 0.0)
