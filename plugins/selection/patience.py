"""Gives up targets that stay as they are however long they are aimed at: corpses, statues, pictures on a wall."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.context import Context
from agent.types import Detections, Frame, Target

FORGET_NS = 20_000_000_000
"""How long one that was given up is left out."""
GAP_NS = 500_000_000
"""One that was not aimed at for so long is begun with anew."""
SAME_PART, SAME_PX, SAME_SIZE = 0.4, 6.0, 1.25
"""How far a box may be from where it was, as a part of its side and in pixels, and how much higher or lower."""


class _Place(NamedTuple):
    x: float
    y: float
    width: float
    height: float


class Patience:
    """Remembers where in the world the targets stand that were aimed at for too long; the view's turns are taken off.

    :param patience_s: how long one is aimed at that stays where it is; None never gives one up.
    """

    def __init__(self, patience_s: float | None, context: Context) -> None:
        self._patience_ns = math.inf if patience_s is None else patience_s * 1e9
        self._view = context.view
        self._crosshair = context.crosshair
        self.begin()

    def begin(self) -> None:
        """Forget all: a new episode begins."""
        self._given_up: list[tuple[_Place, int]] = []
        self._place: _Place | None = None
        self._since_ns = self._last_ns = 0

    def given_up(self, found: Detections, frame: Frame) -> NDArray[np.bool_] | None:
        """Return which detections were given up, (n,); None where none was, as nearly always."""
        if not self._given_up:
            return None
        at_ns = found.at_ns or frame.at_ns
        self._given_up = [(place, until_ns) for place, until_ns in self._given_up if at_ns < until_ns]
        places = [place for place, _ in self._given_up]
        return np.array([self._any(box, places, frame) for box in self._places(found.xyxy, frame, at_ns)], bool)

    def chose(self, target: Target | None, frame: Frame) -> None:
        """Take note of what is aimed at."""
        if target is None or self._patience_ns == math.inf:
            return
        at_ns = target.at_ns or frame.at_ns
        (place,) = self._places(np.array([target.box], np.float32), frame, at_ns)
        known = self._place is not None and self._any(place, [self._place], frame)
        if not known or at_ns - self._last_ns > GAP_NS:
            self._place, self._since_ns = place, at_ns
        elif at_ns - self._since_ns > self._patience_ns:
            self._given_up.append((place, at_ns + FORGET_NS))
            self._place = None
        self._last_ns = at_ns

    def _places(self, xyxy: NDArray[np.float32], frame: Frame, at_ns: int) -> list[_Place]:
        middle = (self._crosshair[0] * frame.width, self._crosshair[1] * frame.height)
        steady = self._view.steady(xyxy, frame, at_ns, middle)
        return [_Place((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1) for x1, y1, x2, y2 in steady]

    def _any(self, place: _Place, others: list[_Place], frame: Frame) -> bool:
        return any(_same(place, other, self._view.turn_px(frame)) for other in others)


def _same(a: _Place, b: _Place, turn_px: float) -> bool:
    """Tell whether two boxes are of the same thing that stands still."""
    away = math.remainder(a.x - b.x, turn_px)
    return (
        abs(away) <= max(SAME_PX, SAME_PART * b.width)
        and abs(a.y - b.y) <= max(SAME_PX, SAME_PART * b.height)
        and max(a.height, b.height) <= SAME_SIZE * min(a.height, b.height) + SAME_PX / 2
    )
