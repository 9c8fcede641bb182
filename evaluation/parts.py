"""What commands put between the parts of a run."""

from __future__ import annotations

from collections.abc import Callable

from agent.hookspecs import Maker, NoSettings
from agent.profile import Choice
from agent.roles import Capture
from agent.types import Detections, Frame, Target


class Until:
    """A capture that has no more frames once `ended` says so."""

    def __init__(self, capture: Capture, ended: Callable[[], bool]) -> None:
        self._grab = capture.grab
        self._ended = ended
        self.on_demand = bool(getattr(capture, "on_demand", False))

    def grab(self) -> Frame | None:
        """Return the next frame."""
        return None if self._ended() else self._grab()


class _Nothing:
    names: tuple[str, ...] = ()

    def detect(self, frame: Frame) -> Detections:
        return Detections.empty()

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        return None


NOTHING = Choice(Maker("nothing", lambda settings, context: _Nothing()), NoSettings())
"""A detector that looks for nothing, and a selection that picks nothing."""
