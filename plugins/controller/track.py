"""A target's track: where it is and how fast it moves, by a g-h filter."""

from __future__ import annotations

import math
from dataclasses import dataclass

LONGEST_GAP_NS = 500_000_000
"""A track that was not seen for longer begins anew."""


@dataclass(frozen=True)
class Track:
    """A target's direction (degrees, as the view's) and how fast it changes (degrees a second)."""

    at_ns: int
    x: float
    y: float
    rate_x: float = 0.0
    rate_y: float = 0.0

    def ahead(self, at_ns: int, limit_deg: float) -> tuple[float, float]:
        """Return where it will be, at most `limit_deg` from where it was seen."""
        seconds = (at_ns - self.at_ns) / 1e9
        dx, dy = self.rate_x * seconds, self.rate_y * seconds
        length = math.hypot(dx, dy)
        scale = min(1.0, limit_deg / length) if length else 0.0
        return self.x + dx * scale, self.y + dy * scale


def updated(last: Track | None, at_ns: int, x: float, y: float, smoothing: float, jump_deg: float) -> Track:
    """Return the track after one more sighting: a g-h filter (constant rate), begun anew after a jump.

    :param smoothing: 0 takes each sighting as it is, towards 1 believes the track more. The rate's gain follows from it
        as for a critically damped filter (Brookner, Tracking and Kalman Filtering Made Easy, 1998, chapter 1).
    """
    if last is None or at_ns - last.at_ns > LONGEST_GAP_NS:
        return Track(at_ns, x, y)
    if at_ns <= last.at_ns:  # a picture that came after a newer one
        return last
    seconds = (at_ns - last.at_ns) / 1e9
    expected_x, expected_y = last.x + last.rate_x * seconds, last.y + last.rate_y * seconds
    miss_x, miss_y = x - expected_x, y - expected_y
    if math.hypot(miss_x, miss_y) > jump_deg:
        return Track(at_ns, x, y)
    g, h = 1 - smoothing**2, (1 - smoothing) ** 2
    return Track(
        at_ns,
        expected_x + g * miss_x,
        expected_y + g * miss_y,
        last.rate_x + h * miss_x / seconds,
        last.rate_y + h * miss_y / seconds,
    )
