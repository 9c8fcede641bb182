"""What the hand has done and the picture does not show yet, and where a target will be.

A controller that corrects the whole error of every picture corrects it again while the first correction is on its way,
and runs past the target: the classic trouble of a loop with a dead time. The remedy is as old (O. J. M. Smith, 1957):
keep what was sent, and correct only what remains. All in degrees of the view, right and down positive.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.types import Frame

MOST_MOTIONS = 256
AHEAD_DEG = 80.0
"""What lies farther round is not in the picture's plane."""


class Motions:
    """The motions sent, and the view's direction by them.

    :param delay_ns: from the frame that a motion was decided on to the first picture that shows it; 0 means the next.
    """

    def __init__(self, delay_ns: int) -> None:
        self._delay_ns = delay_ns
        self._sent: deque[tuple[int, float, float]] = deque(maxlen=MOST_MOTIONS)
        self.begin(0)

    def begin(self, episode: int) -> None:
        """Forget all: a new episode."""
        self.episode = episode
        self._sent.clear()
        self._fresh = False
        self.view = self._before = (0.0, 0.0)
        """The view's direction once all that was sent is shown, from where it began."""

    def send(self, at_ns: int, x: float, y: float) -> None:
        """Add a motion that was decided on a frame of that time."""
        self._fresh = bool(x or y)
        if self._fresh:
            self._before = self.view
            self._sent.append((at_ns, x, y))
            self.view = (self.view[0] + x, self.view[1] + y)

    def take_back(self) -> None:
        """Forget what was sent last, which was not carried out."""
        if self._fresh:
            self._sent.pop()
            self.view = self._before
        self._fresh = False

    def shown(self, at_ns: int) -> tuple[float, float]:
        """Return the view's direction in a picture of that time."""
        x, y = self.view
        for sent_ns, dx, dy in reversed(self._sent):
            if sent_ns < at_ns and sent_ns + self._delay_ns <= at_ns:
                break
            x, y = x - dx, y - dy
        return x, y


class View:
    """Where a picture's points are as the view turns: what sees past the agent's own motion.

    :param focal_px: from a frame's width to the distance of its plane from the eye, both in pixels; None where aim is
        not calibrated, and then no motion is known.
    """

    def __init__(self, motions: Motions, focal_px: Callable[[float], float] | None) -> None:
        self.motions = motions
        self._focal_px = focal_px

    def ahead_px(self, frame: Frame, at_ns: int) -> tuple[float, float]:
        """Return where in a picture of that time the crosshair will be once all that was sent shows.

        Pixels from where it is. Pictures come late, so the target nearest to the crosshair in one may be the one that
        the view has just turned away from.
        """
        view, shown = self._turned(frame, at_ns)
        if self._focal_px is None or shown == view:
            return 0.0, 0.0
        f = self._focal_px(frame.width)
        x, y = (max(-AHEAD_DEG, min(AHEAD_DEG, a - b)) for a, b in zip(view, shown, strict=True))
        return f * math.tan(math.radians(x)), f * math.tan(math.radians(y))

    def steady(
        self, xyxy: NDArray[np.float32], frame: Frame, at_ns: int, crosshair: tuple[float, float]
    ) -> NDArray[np.float32]:
        """Return boxes where they would be if the view had never turned: angles, in pixels of the picture's middle.

        Where aim is not calibrated they are as they are.
        """
        if self._focal_px is None:
            return xyxy
        f = self._focal_px(frame.width)
        _, shown = self._turned(frame, at_ns)
        middle = np.array(crosshair * 2, np.float32)
        turned = np.radians(np.array(shown * 2, np.float32))
        return np.asarray(f * (np.arctan((xyxy - middle) / f) + turned), np.float32)

    def _turned(self, frame: Frame, at_ns: int) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return the view's direction, and that in a picture of a time; an episode begins with none turned.

        The controller, which comes after the selection, has not begun it yet when its first frame is looked at.
        """
        if self.motions.episode != frame.episode:
            return (0.0, 0.0), (0.0, 0.0)
        return self.motions.view, self.motions.shown(at_ns)


@dataclass(frozen=True)
class Tracked:
    """A target's direction (degrees, as the view's) and how fast it changes (degrees a second)."""

    at_ns: int
    x: float
    y: float
    rate_x: float = 0.0
    rate_y: float = 0.0

    def ahead(self, at_ns: int, most_deg: float) -> tuple[float, float]:
        """Return where it will be, at most `most_deg` from where it was seen."""
        seconds = (at_ns - self.at_ns) / 1e9
        dx, dy = self.rate_x * seconds, self.rate_y * seconds
        length = math.hypot(dx, dy)
        scale = min(1.0, most_deg / length) if length else 0.0
        return self.x + dx * scale, self.y + dy * scale


def track(last: Tracked | None, at_ns: int, x: float, y: float, smoothing: float, jump_deg: float) -> Tracked:
    """Return the track after one more sighting: a g-h filter (constant rate), begun anew after a jump.

    :param smoothing: 0 takes each sighting as it is, towards 1 believes the track more. The rate's gain follows from it
        as for a critically damped filter (Brookner, Tracking and Kalman Filtering Made Easy, 1998, chapter 1).
    """
    if last is None or at_ns - last.at_ns > 500_000_000:
        return Tracked(at_ns, x, y)
    if at_ns <= last.at_ns:  # a picture that came after a newer one
        return last
    seconds = (at_ns - last.at_ns) / 1e9
    expected_x, expected_y = last.x + last.rate_x * seconds, last.y + last.rate_y * seconds
    miss_x, miss_y = x - expected_x, y - expected_y
    if math.hypot(miss_x, miss_y) > jump_deg:
        return Tracked(at_ns, x, y)
    g, h = 1 - smoothing**2, (1 - smoothing) ** 2
    return Tracked(
        at_ns,
        expected_x + g * miss_x,
        expected_y + g * miss_y,
        last.rate_x + h * miss_x / seconds,
        last.rate_y + h * miss_y / seconds,
    )
