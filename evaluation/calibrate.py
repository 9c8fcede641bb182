"""Degrees a mouse count on both axes, the field of view and the delay, fitted to what an experiment saw.

A whole turn is 360 degrees whatever the lens: the counts after which the view is back where it began tell the scale
without the field of view. How far the picture then moves for a known angle tells the focal length, and with that how
far it moves up and down tells the other axis. Each comes from passes that know nothing of each other, and where they
disagree there is no result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np

from agent.context import Context
from agent.loop import ActiveRoles
from agent.profile import LoadedProfile
from core.errors import UserError
from evaluation.alignment import Turn, View, agreement, best, shift
from evaluation.middleware import NOTHING, StoppingCapture
from evaluation.turning import SURE, Pair, Recorded, Sweep, TurningController

T = TypeVar("T")

MOST_PAIRS = 32
FEWEST_PAIRS, FEWEST_PITCHES = 8, 6
NEAR, VOTES = 0.13, 3
"""How far from where it is expected a whole turn may end, as a part of it, and how many pictures must say so."""
LOST = 0.8
"""Two pictures that correlate so well, and whose shift is not that of the others, have a motion between them that was
lost, or half; below it nobody can tell."""
AS_GOOD = 0.8
"""How well views of the same place correlate at least, as a part of those that do best."""
DISAGREE = 0.01
"""Passes that differ by a larger part do not agree."""
ACCELERATED = 0.06
"""Counts that turn so much farther at once than in parts are accelerated."""
STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57}
"""The 97.5th percentile of Student's distribution for so many values, whose mean is taken."""
FLOOR_YAW, FLOOR_FOCAL, FLOOR_PITCH = 0.001, 0.004, 0.005
"""The narrowest half-widths of an interval, as a part of the value: what matching to a tenth of a pixel can tell."""
FIELDS = (55.0, 130.0)
"""Fields of view that are looked for, degrees."""


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float

    def scaled(self, by: float) -> Estimate:
        """Return it in another unit."""
        low, high = sorted((self.low * by, self.high * by))
        return Estimate(self.value * by, low, high)


@dataclass(frozen=True)
class Delay:
    """From a motion sent to the first picture that shows it, milliseconds.

    :param jitter_ms: the width of the middle half.
    """

    median_ms: float
    p95_ms: float
    jitter_ms: float
    motions: int


@dataclass(frozen=True)
class Calibration:
    """What was measured.

    :param right: degrees a count to the right; negative where the mouse is inverted.
    :param down: degrees a count down; None where the view does not turn up and down.
    :param fov_deg: horizontal.
    :param fov_fitted: whether it was measured, and not given.
    :param delay: None in lock-step, where the next frame shows a motion.
    :param tilt_deg: how far below the horizon the view was.
    :param shear: the picture moves up and down as a whole, as in Doom.
    """

    right: Estimate
    down: Estimate | None
    fov_deg: Estimate
    fov_fitted: bool
    delay: Delay | None
    tilt_deg: float
    shear: bool
    turns: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as docs/reports.md describes it."""
        delay = self.delay
        return {
            "degrees_per_count": self.per_count,
            "right": asdict(self.right),
            "down": None if self.down is None else asdict(self.down),
            "fov_deg": self.fov_deg.value,
            "fov": asdict(self.fov_deg),
            "fov_fitted": self.fov_fitted,
            "delay_ms": None if delay is None else delay.median_ms,
            "delay": None if delay is None else asdict(delay),
            "tilt_deg": round(self.tilt_deg, 2),
            "shear": self.shear,
            "turns": self.turns,
        }

    @property
    def per_count(self) -> float | list[float]:
        """Degrees a count as a profile has them."""
        if self.down is None:
            return round(self.right.value, 6)
        return [round(self.right.value, 6), round(self.down.value, 6)]


def blind(loaded: LoadedProfile) -> LoadedProfile:
    """Return a profile that needs no model."""
    return loaded.with_roles(detector=NOTHING, selection=NOTHING)


def turning(roles: ActiveRoles, context: Context, turner: TurningController) -> ActiveRoles:
    """Return a run's roles with the turner as the controller; a middleware once the turner is given."""
    return replace(roles, capture=StoppingCapture(roles.capture, lambda: turner.done), controller=turner)


def fit(recorded: Recorded, view_width: float, fov_deg: float | None, view: Callable[..., View]) -> Calibration:
    """Return what an experiment's pictures tell.

    :param view_width: of the whole view, pixels; the field of view spans it.
    :param fov_deg: where it is known.
    :param view: makes a picture comparable.
    :raises UserError: its passes disagree, or the mouse is accelerated.
    """
    if recorded.fast and abs(float(np.median(recorded.fast)) - 1) > ACCELERATED:
        raise UserError(
            f"counts sent at once turn {float(np.median(recorded.fast)):.2f} times as far as in parts: the mouse is "
            "accelerated, in the game or the system; switch that off, as no number of degrees a count holds with it"
        )
    rounds, pairs = [], []
    for sweep in recorded.sweeps:
        counts, steps = whole_turn(sweep, recorded.focal, view)
        pairs += steps
        if counts is not None:
            rounds.append(counts)
    if len(rounds) < 2 or len(pairs) < FEWEST_PAIRS:
        raise UserError(
            f"{len(rounds)} of {len(recorded.sweeps)} turns came round to where they began: something else moves the "
            "view (walking, being hit or killed, a menu), or all that is seen looks alike; go to a quiet place with "
            "more to see, and try again"
        )
    pairs = _spread(pairs, MOST_PAIRS)
    size = _mean([360 / counts for counts in rounds], FLOOR_YAW, "whole turns")
    sign, focal, tilt = _lens(pairs, size.value, view_width / recorded.scale, fov_deg, view)
    right = size.scaled(sign)
    down, shear = _pitch(recorded.pitches, focal.value, view)
    half = view_width / recorded.scale / 2
    fields = [2 * math.degrees(math.atan(half / value)) for value in (focal.value, focal.high, focal.low)]
    return Calibration(
        right,
        down,
        Estimate(*fields),
        fov_deg is None,
        _delay(recorded.delays_ns),
        math.degrees(tilt),
        shear,
        recorded.turns,
    )


def whole_turn(sweep: Sweep, focal: float, view: Callable[..., View]) -> tuple[float | None, list[Pair]]:
    """Return the counts of a whole turn, None where the view did not come round, and the steps that went as usual.

    :param focal: pixels, roughly: what is seen may look alike from several sides, and the end is the one near it.
    """
    views = [view(picture) for picture in sweep.pictures]
    middle = views[0].shape[1] / 2
    moves = [shift(a, b, middle, 1, 1.2) for a, b in pairwise(views)]
    sure = [angle for angle, score in moves if score >= SURE]
    if len(sure) < FEWEST_PAIRS:
        return None, []
    usual = float(np.median(sure))
    good = [score >= SURE and 0.85 < angle / usual < 1.15 for angle, score in moves]
    steps = [Pair(sweep.pictures[i], sweep.pictures[i + 1], sweep.step) for i in range(len(moves)) if good[i]]
    # Where little is to be seen, or somebody stands before the view, nobody can say; pictures that are alike can.
    whole = [fine or score < LOST for fine, (_, score) in zip(good, moves, strict=True)]
    expected = 2 * math.pi * focal / middle / abs(usual)
    matches: list[tuple[float, float]] = []
    for i in range(len(views)):
        for j in range(
            i + math.floor(expected * (1 - NEAR)), min(len(views), i + math.ceil(expected * (1 + NEAR)) + 1)
        ):
            if j > i and all(whole[i:j]):  # a motion that was lost in between would count as turned
                beyond, score = shift(views[i], views[j], middle, 1, abs(usual))
                if score >= SURE and abs(beyond) <= 0.8 * abs(usual):
                    matches.append((j - i - beyond / usual, score))
    # The same place again looks the same; others that look like it do so less.
    most = max((score for _, score in matches), default=0.0)
    ends = [end for end, score in matches if score >= AS_GOOD * most]
    clusters = [group for end in ends if len(group := [e for e in ends if abs(e - end) < 0.15]) >= VOTES]
    if not clusters:
        return None, steps
    nearest = min(clusters, key=lambda group: abs(float(np.median(group)) - expected))
    return float(np.median(nearest)) * abs(sweep.step), steps


def _mean(values: Sequence[float], floor: float, what: str) -> Estimate:
    """Return the mean of a few independent values.

    :raises UserError: they disagree.
    """
    middle = float(np.mean(values))
    if max(values) - min(values) > DISAGREE * abs(middle):
        raise UserError(
            f"the {what} disagree by {100 * (max(values) - min(values)) / abs(middle):.1f} %: something else moved the "
            "view, or motions were lost (a busy machine?); try again"
        )
    half = STUDENT.get(len(values), 2.4) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = max(half, floor * abs(middle))
    return Estimate(middle, middle - half, middle + half)


def _median(values: Sequence[float], floor: float, what: str) -> Estimate:
    """Return the median of many values of which some are far off, its first half held against its second.

    :raises UserError: the halves disagree.
    """
    array = np.array(values)
    middle = float(np.median(array))
    halves = [float(np.median(array[i::2])) for i in (0, 1)]
    if abs(halves[0] - halves[1]) > DISAGREE * abs(middle):
        raise UserError(
            f"{what} comes out {100 * abs(halves[0] - halves[1]) / abs(middle):.1f} % apart in two passes; go "
            "to a quiet place with more to see, and try again"
        )
    spread = 1.4826 * float(np.median(np.abs(array - middle)))
    half = max(1.96 * 1.2533 * spread / math.sqrt(len(array)), floor * abs(middle))
    return Estimate(middle, middle - half, middle + half)


def _lens(
    pairs: Sequence[Pair], degrees: float, width: float, fov_deg: float | None, view: Callable[..., View]
) -> tuple[int, Estimate, float]:
    """Return the sign of the horizontal scale, the focal length in pixels of the pictures, and the tilt, radians."""
    views = [(view(pair.before), view(pair.after), math.radians(degrees * pair.counts)) for pair in pairs]
    known = None if fov_deg is None else width / 2 / math.tan(math.radians(fov_deg) / 2)
    shortest, longest = (width / 2 / math.tan(math.radians(fov) / 2) for fov in reversed(FIELDS))

    few = _spread(views, 6)

    def score(sign: int, focal: float, tilt: float) -> float:
        return float(np.mean([agreement(a, b, Turn(sign * angle, tilt=tilt), focal) for a, b, angle in few]))

    middle = known or float(np.sqrt(shortest * longest))
    guesses = [middle] if known else np.geomspace(shortest, longest, 12).tolist()
    sign = max((1, -1), key=lambda s: max(score(s, f, 0.0) for f in guesses))

    def of_focal(tilt: float) -> Callable[[float], float]:
        return lambda focal: score(sign, focal, tilt)

    def of_tilt(focal: float) -> Callable[[float], float]:
        return lambda tilt: score(sign, focal, tilt)

    tilt, focal = 0.0, middle
    for _ in range(2):
        if known is None:
            focal = best(of_focal(tilt), shortest * 0.98, longest * 1.02, 24, 0.05)
        tilt = best(of_tilt(focal), math.radians(-42), math.radians(42), 15, 1e-3)
    if known is not None:
        return sign, Estimate(known, known, known), tilt
    fitted = (_best_focal(a, b, Turn(sign * angle, tilt=tilt), focal) for a, b, angle in views)
    found = [value for value in fitted if value is not None]
    if len(found) < FEWEST_PAIRS:
        raise UserError(
            f"only {len(found)} turns tell the field of view; look at a place with more to see, or give it with --fov"
        )
    return sign, _median(found, FLOOR_FOCAL, "the field of view"), tilt


def _pitch(pairs: Sequence[Pair], focal: float, view: Callable[..., View]) -> tuple[Estimate | None, bool]:
    """Return degrees a count down, and whether the game shears; None where the picture does not move up and down."""
    if len(pairs) < FEWEST_PITCHES:
        return None, False
    views = [(view(pair.before), view(pair.after), pair.counts) for pair in pairs]
    height = views[0][0].shape[0]
    limit = math.atan(0.7 * height / focal)
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for a, b, counts in views:
        for shear, fits in found.items():
            angle, score = _best_pitch(a, b, focal, limit, shear)
            if score >= SURE:
                fits.append((math.degrees(angle) / counts, score))
    shear = sum(score for _, score in found[True]) > sum(score for _, score in found[False])
    values = [value for value, _ in found[shear]]
    if len(values) < FEWEST_PITCHES:
        return None, False
    return _median(values, FLOOR_PITCH, "up and down"), shear


def _best_pitch(a: View, b: View, focal: float, limit: float, shear: bool) -> tuple[float, float]:
    """Return the turn down that fits best, radians, and how well; -1 where none does."""

    def score(pitch: float) -> float:
        return agreement(a, b, Turn(pitch=pitch, shear=shear), focal)

    try:
        angle = best(score, -limit, limit, 41, 1e-4)
    except UserError:
        return 0.0, -1.0
    return angle, score(angle)


def _best_focal(a: View, b: View, turn: Turn, near: float) -> float | None:
    """Return the focal length that fits a known turn best, None where none near does."""

    def score(focal: float) -> float:
        return agreement(a, b, turn, focal)

    try:
        focal = best(score, 0.8 * near, 1.25 * near, 9, 0.02)
    except UserError:
        return None
    return focal if score(focal) >= SURE else None


def _delay(delays_ns: Sequence[int]) -> Delay | None:
    if len(delays_ns) < FEWEST_PAIRS:
        return None
    low, middle, high, late = np.percentile(np.array(delays_ns) / 1e6, (25, 50, 75, 95))
    return Delay(round(float(middle), 1), round(float(late), 1), round(float(high - low), 1), len(delays_ns))


def _spread(items: Sequence[T], most: int) -> list[T]:
    """Return so many of the items, evenly."""
    if len(items) <= most:
        return list(items)
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, most)]
