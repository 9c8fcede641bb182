"""The motions sent that pictures do not show yet, and where the view points by them.

Pictures are late: a controller that corrects the whole error of every picture corrects it again while the first
correction is on its way, and overshoots, as any loop with a dead time does. The remedy is old (O. J. M. Smith, 1957):
keep what was sent, and correct only what remains. All in degrees of the view, right and down positive.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agent.types import Box, Frame

CAPACITY = 256
"""Motions that are remembered; older ones show in every picture."""
LAG_FRAMES = 8
LIMIT_DEG = 80.0
"""What lies farther round is not in the picture's plane."""


class CommandHistory:
    """The motions carried out. The loop adds to it and begins it anew with each episode; all others read it.

    :param delay_ns: from a motion sent to the first picture that shows it; 0 means the next one.
    """

    def __init__(self, delay_ns: int = 0) -> None:
        self.delay_ns = delay_ns
        self.scale = (1.0, 1.0)
        """What a count turns, right and down, as a multiple of the profile's degrees: corrected while a run is on."""
        self._lag_ns = 0
        self._sent: deque[tuple[int, float, float]] = deque(maxlen=CAPACITY)
        self.view = (0.0, 0.0)
        """The view's direction once all that was sent shows, degrees from where the episode began."""

    def begin(self, episode: int) -> None:
        """Forget everything: a new episode begins."""
        self._sent.clear()
        self.view = (0.0, 0.0)

    @property
    def dead_ns(self) -> int:
        """From a frame to the first that shows the motion decided on it: its way out, and the delay."""
        return self._lag_ns + self.delay_ns

    def correct(self, scale: tuple[float, float], delay_ns: int) -> None:
        """Take over what was learnt of the mouse; motions that were sent before stay as they were reckoned."""
        self.scale, self.delay_ns = scale, delay_ns

    def lags(self, ns: int) -> None:
        """Take note of how long after its frame an action was sent; kept as a mean over some frames."""
        self._lag_ns += (ns - self._lag_ns) // LAG_FRAMES

    def add(self, sent_ns: int, x_deg: float, y_deg: float) -> None:
        """Add a motion that was sent at that time."""
        if x_deg or y_deg:
            self._sent.append((sent_ns, x_deg, y_deg))
            self.view = (self.view[0] + x_deg, self.view[1] + y_deg)

    def shown(self, at_ns: int) -> tuple[float, float]:
        """Return the view's direction in a picture of that time, degrees."""
        x, y = self.view
        for sent_ns, dx, dy in reversed(self._sent):
            if sent_ns < at_ns and sent_ns + self.delay_ns <= at_ns:
                break
            x, y = x - dx, y - dy
        return x, y


class View:
    """Where a picture's points are as the view turns: ego-motion compensation by the motions sent.

    :param focal_px: from a frame's width to the distance of its plane from the eye, both in pixels; None where nothing
        is calibrated, and then no motion is known.
    """

    def __init__(self, history: CommandHistory, focal_px: Callable[[float], float] | None) -> None:
        self._history = history
        self._focal_px = focal_px

    def ahead_px(self, frame: Frame, at_ns: int) -> tuple[float, float]:
        """Return where in a picture of that time the crosshair will be once all that was sent shows.

        Pixels from where it is. Pictures come late, so the target nearest to the crosshair in one may be the one that
        the view has just turned away from.
        """
        view, shown = self._history.view, self._history.shown(at_ns)
        if self._focal_px is None or shown == view:
            return 0.0, 0.0
        f = self._focal_px(frame.width)
        x, y = (max(-LIMIT_DEG, min(LIMIT_DEG, a - b)) for a, b in zip(view, shown, strict=True))
        return f * math.tan(math.radians(x)), f * math.tan(math.radians(y))

    def turn_px(self, frame: Frame) -> float:
        """Return how far a whole turn moves what `steady` returns, pixels; infinity where nothing is calibrated."""
        return math.inf if self._focal_px is None else 2 * math.pi * self._focal_px(frame.width)

    def steady(self, xyxy: NDArray[np.float32], frame: Frame, at_ns: int, crosshair: tuple[float, float]) -> list[Box]:
        """Return boxes, float32 (n, 4) xyxy, where they would be if the view had never turned.

        They are angles, in pixels of the picture's middle. Where nothing is calibrated the boxes are returned as given.
        """
        boxes = [tuple(box) for box in xyxy.tolist()]
        if self._focal_px is None:
            return boxes
        f, atan = self._focal_px(frame.width), math.atan
        (turned_x, turned_y), (x, y) = map(math.radians, self._history.shown(at_ns)), crosshair
        return [
            (
                f * (atan((left - x) / f) + turned_x),
                f * (atan((top - y) / f) + turned_y),
                f * (atan((right - x) / f) + turned_x),
                f * (atan((bottom - y) / f) + turned_y),
            )
            for left, top, right, bottom in boxes
        ]
