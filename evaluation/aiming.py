"""What aim looks like over time: how far the crosshair runs past a target."""

from __future__ import annotations

import math

JUMP_DEG = 12.0
"""Errors of two frames in a row that differ by more are of two targets."""
LEAST_DEG = 2.0
"""A target nearer than this when it is first aimed at is no test."""
FOLLOWED = 35
"""Frames after the crossing in which the farthest point on the other side counts."""


class Overshoot:
    """Takes the aim error of each frame, degrees, signed, to the target nearest to the crosshair; keeps overshoots.

    An overshoot is how far the crosshair goes past a target on the other side from where it came, within a second.
    """

    def __init__(self) -> None:
        self.values: list[float] = []
        self._last: float | None = None
        self._side = 0.0
        self._farthest = 0.0
        self._crossed = 0

    def add(self, error_deg: float | None) -> None:
        """Take the error of one frame; None when there is no target."""
        if error_deg is None or (self._last is not None and abs(error_deg - self._last) > JUMP_DEG):
            self._end()
        if error_deg is not None:
            if self._last is None:
                self._side = math.copysign(1.0, error_deg) if abs(error_deg) >= LEAST_DEG else 0.0
            elif self._side:
                past = -error_deg * self._side
                self._crossed += 1 if past > 0 or self._crossed else 0
                self._farthest = max(self._farthest, past)
                if self._crossed > FOLLOWED:
                    self._end()
        self._last = error_deg

    def _end(self) -> None:
        if self._side and self._crossed:
            self.values.append(self._farthest)
        self._last = None
        self._side = self._farthest = 0.0
        self._crossed = 0
