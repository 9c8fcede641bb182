"""How far a mouse count turns the view: turns by known counts, follows the picture, and fits degrees a count.

A view that turns about the vertical by an angle moves what stands at x (pixels from the middle) to f tan(atan(x / f) -
angle), where f is the focal length in pixels: the field of view. How the shift grows towards the edges tells f, so both
can be fitted; with a known field of view the fit is the better for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.context import Context
from agent.loop import ActiveRoles
from agent.profile import LoadedProfile
from agent.types import IDLE, Action, Frame, Target
from core.errors import UserError
from evaluation.middleware import NOTHING, StoppingCapture
from evaluation.statistics import fitted_interval

FIRST_COUNTS = 2
LARGEST_COUNTS = 8192
WANTED_SHIFT = 1 / 6
"""The shift that the turns are made large enough for, as a part of the picture's width."""
SMALLEST_SHIFT_PX = 1.0
REPEATS = 12
SETTLE_NS = 250_000_000
"""Live, the picture is given so long to show a turn; in lock-step the next frame does."""
POINTS = 400
FEWEST_POINTS = 20
FIT_RESAMPLES = 40
ITERATIONS, STEP = 60, 1e-6
BACK_AND_FORTH_PX = 0.5
"""A point counts when following it back ends where it began."""


@dataclass(frozen=True)
class Turn:
    """One turn by `counts` and where points went: x before and after, pixels from the crosshair."""

    counts: int
    before: NDArray[np.float64]
    after: NDArray[np.float64]

    @property
    def shift_px(self) -> float:
        """The median shift."""
        return float(np.median(self.after - self.before))


@dataclass(frozen=True)
class Calibration:
    """What was measured; `low` and `high` bound degrees a count with 95 % confidence (bootstrap over the turns)."""

    degrees_per_count: float
    low: float
    high: float
    fov_deg: float
    fov_fitted: bool
    turns: int
    points: int
    residual_px: float
    """The median distance between where a point went and where the fit says it should."""


class TurningController:
    """A controller that turns by known counts, waits until the picture shows it, and notes what moved where."""

    def __init__(self, live: bool, crosshair: tuple[float, float]) -> None:
        self._settle_ns = SETTLE_NS if live else 0
        self._crosshair = crosshair[0]
        self._before: NDArray[np.uint8] | None = None
        self._counts = FIRST_COUNTS
        self._wait_ns = 0
        self._radians = 0.0
        """What a count turns, as far as is known yet."""
        self._left: list[int] | None = None
        self.turns: list[Turn] = []
        self.problem = ""
        self.done = False
        self.width = 0

    def decide(self, target: Target | None, frame: Frame) -> Action:
        """Return the next turn, or nothing while the last one has not settled."""
        if self.done or frame.grab_ns < self._wait_ns:
            return IDLE
        now = cv2.cvtColor(frame.pixels[:, :, :3], cv2.COLOR_BGR2GRAY)
        self.width = frame.width
        if self._before is not None and not self._took(self._before, np.asarray(now, np.uint8)):
            self.done = True
            return IDLE
        self._before = np.asarray(now, np.uint8)
        self._wait_ns = time.perf_counter_ns() + self._settle_ns
        return Action(self._counts, 0, 0)

    def sent(self, action: Action, frame: Frame) -> None:
        """Go on all the same."""

    def _took(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> bool:
        """Take in what the last turn did; set the next one, or return False when there is none."""
        middle, focal = self._crosshair * before.shape[1], before.shape[1] / 2
        start, end = follow(before, after, self._radians * self._counts, middle, focal)
        if len(start) >= FEWEST_POINTS:
            self.turns.append(Turn(self._counts, start, end))
            angles = np.arctan(start / focal) - np.arctan(end / focal)
            self._radians = float(np.median(angles)) / self._counts
        if self._left is None:
            return self._probe(len(start), before.shape[1])
        if not self._left:
            return False
        self._counts = self._left.pop(0)
        return True

    def _probe(self, points: int, width: int) -> bool:
        """Double the turn until the shift is large enough to measure; the smallest is followed without a guess."""
        if points < FEWEST_POINTS:
            self.problem = (
                f"the picture has {points} points to follow, too few: look at a place with more to see, and keep still"
            )
            return False
        shift = self.turns[-1].shift_px
        if abs(shift) >= WANTED_SHIFT * width / 2:
            self._left = [self._counts, -self._counts] * (REPEATS // 2)
            self._counts = -self._counts
            return True
        if self._counts * 2 > LARGEST_COUNTS:
            self.problem = (
                f"turning by {self._counts} counts moves the picture by {abs(shift):.1f} pixels: the game does not "
                "take the mouse's motion (is its window in front, and does it play?)"
            )
            return False
        self._counts *= 2
        return True


def blind(loaded: LoadedProfile) -> LoadedProfile:
    """Return a profile that needs no model."""
    return loaded.with_roles(detector=NOTHING, selection=NOTHING)


def turning(roles: ActiveRoles, context: Context, turner: TurningController) -> ActiveRoles:
    """Return a run's roles with the turner as the controller; a middleware once the turner is given."""
    return replace(roles, capture=StoppingCapture(roles.capture, lambda: turner.done), controller=turner)


def follow(
    before: NDArray[np.uint8], after: NDArray[np.uint8], turned: float, middle: float, focal: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the x of points before and after, pixels from the middle, followed by Lucas and Kanade's method.

    :param turned: by what angle the view may have turned, radians. What it would look like then is compared with what
        it does look like: patterns repeat, and what is near the edges is stretched.
    """
    height, width = before.shape
    x, y = np.meshgrid(np.arange(width) - middle, np.arange(height) - height / 2)
    depth = focal * math.cos(turned) - x * math.sin(turned)
    source_x = focal * (x * math.cos(turned) + focal * math.sin(turned)) / depth + middle
    source_y = focal * y / depth + height / 2
    expected = cv2.remap(
        before,
        source_x.astype(np.float32),
        source_y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    inside = (source_x > 0) & (source_x < width - 1) & (source_y > 0) & (source_y < height - 1) & (depth > 0)
    mask = cv2.erode(inside.astype(np.uint8), np.ones((15, 15), np.uint8), borderValue=0)
    found: Any = cv2.goodFeaturesToTrack(expected, POINTS, 0.01, 6, mask=mask)
    if found is None:
        return np.empty(0), np.empty(0)
    window: dict[str, Any] = {"winSize": (21, 21), "maxLevel": 2}
    there, seen, _ = cv2.calcOpticalFlowPyrLK(expected, after, found, None, **window)
    back, seen_back, _ = cv2.calcOpticalFlowPyrLK(after, expected, there, None, **window)
    good = (seen & seen_back).ravel() == 1
    good &= np.abs(back - found).max(axis=2).ravel() < BACK_AND_FORTH_PX
    start = went(found[good, 0, 0].astype(np.float64) - middle, -turned, focal)
    return start, there[good, 0, 0].astype(np.float64) - middle


def fit(turns: Sequence[Turn], view_width: float, fov_deg: float | None) -> Calibration:
    """Return degrees a count, and the field of view where it is not given.

    :param view_width: of the whole view, pixels; the field of view spans it.
    :raises UserError: the turns do not agree with each other.
    """
    chosen = _agreeing([turn for turn in turns if abs(turn.shift_px) >= SMALLEST_SHIFT_PX], view_width, fov_deg)
    if len(chosen) < REPEATS // 2:
        raise UserError(f"only {len(chosen)} turns could be measured; look at a place with more to see, and try again")
    degrees, focal = _solve(chosen, view_width, fov_deg)
    low, high = fitted_interval(chosen, lambda drawn: _solve(drawn, view_width, fov_deg)[0], FIT_RESAMPLES)
    misses = np.concatenate([np.abs(went(t.before, math.radians(degrees * t.counts), focal) - t.after) for t in chosen])
    residual = float(np.median(misses))
    if residual > 0.02 * view_width:
        raise UserError(
            f"the picture moves by {residual:.0f} pixels otherwise than a turn would: something else moved it "
            "(walking, a menu, mouse acceleration); keep still and try again"
        )
    fov = 2 * math.degrees(math.atan(view_width / 2 / focal))
    return Calibration(
        degrees,
        low,
        high,
        fov,
        fov_deg is None,
        len(chosen),
        sum(len(t.before) for t in chosen),
        residual,
    )


def _agreeing(turns: Sequence[Turn], view_width: float, fov_deg: float | None) -> list[Turn]:
    """Return the turns without the points that went elsewhere: monsters, one's own weapon, wrong matches."""
    kept = list(turns)
    for limit_px in (16.0, 4.0, 2.0):
        if not kept:
            return []
        degrees, focal = _solve(kept, view_width, fov_deg)
        kept = []
        for turn in turns:
            near = np.abs(went(turn.before, math.radians(degrees * turn.counts), focal) - turn.after) < limit_px
            if near.sum() >= FEWEST_POINTS:
                kept.append(Turn(turn.counts, turn.before[near], turn.after[near]))
    return kept


def went(x: NDArray[np.float64], turned: float, focal: float) -> NDArray[np.float64]:
    """Return where points at x, pixels from the middle, go when the view turns right by an angle, radians."""
    return focal * np.tan(np.clip(np.arctan(x / focal) - turned, -1.5, 1.5))


def _solve(turns: Sequence[Turn], view_width: float, fov_deg: float | None) -> tuple[float, float]:
    """Return degrees a count and the focal length, pixels: those that a turn's equation fits best."""
    known = None if fov_deg is None else view_width / 2 / math.tan(math.radians(fov_deg) / 2)
    focal = known or view_width / 2
    slope = float(np.median([-turn.shift_px / turn.counts for turn in turns]))
    start = math.degrees(slope / focal) or 1e-9

    def misses(factors: NDArray[np.float64]) -> NDArray[np.float64]:
        f = known or focal * factors[1]
        return np.concatenate(
            [went(turn.before, math.radians(start * factors[0] * turn.counts), float(f)) - turn.after for turn in turns]
        )

    factors = minimised(misses, np.ones(1 if known else 2))
    return float(start * factors[0]), known or float(focal * factors[1])


def minimised(
    residuals: Callable[[NDArray[np.float64]], NDArray[np.float64]], start: NDArray[np.float64], scale: float = 0.5
) -> NDArray[np.float64]:
    """Return the parameters of the least robust loss, by Levenberg and Marquardt's method, reweighted at each step.

    The loss of a residual r is 2 (sqrt(1 + (r / scale)^2) - 1), a smooth form of the absolute value (Charbonnier).

    :param start: the parameters to begin with, all of the order of 1.
    :param scale: residuals smaller than this count as noise.
    """
    values, damping = start.astype(np.float64), 1e-3
    r = residuals(values)
    for _ in range(ITERATIONS):
        weights = 1 / np.sqrt(1 + (r / scale) ** 2)
        jacobian = np.stack(
            [(residuals(values + step) - residuals(values - step)) / (2 * STEP) for step in STEP * np.eye(len(values))],
            axis=1,
        )
        curvature = jacobian.T @ (weights[:, None] * jacobian)
        gradient = jacobian.T @ (weights * r)
        change = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature) + 1e-12), -gradient)
        tried = residuals(values + change)
        if _robust(tried, scale) < _robust(r, scale):
            values, r, damping = values + change, tried, damping / 10
        else:
            damping *= 10
        if np.abs(change).max() < 1e-10 or damping > 1e12:
            break
    return values


def _robust(residuals: NDArray[np.float64], scale: float) -> float:
    return float((np.sqrt(1 + (residuals / scale) ** 2) - 1).sum())
