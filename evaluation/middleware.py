"""What commands put between the roles of a run; see `agent.middleware`."""

from __future__ import annotations

from collections.abc import Callable

from agent.factories import DetectorFactory, NoSettings
from agent.profile import Choice
from agent.roles import Capture, OnDemandCapture
from agent.types import Detections, Frame, Target


class StoppingCapture:
    """A capture that has no more frames once `ended` says so."""

    def __init__(self, capture: Capture, ended: Callable[[], bool]) -> None:
        self._grab = capture.grab
        self._ended = ended
        self.on_demand = isinstance(capture, OnDemandCapture) and capture.on_demand

    def grab(self) -> Frame | None:
        """Return the next frame."""
        return None if self._ended() else self._grab()


class _Nothing:
    names: tuple[str, ...] = ()

    def detect(self, frame: Frame) -> Detections:
        return Detections.empty()

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        return None


NOTHING = Choice(DetectorFactory("nothing", lambda settings, context: _Nothing()), NoSettings(), "nothing")
"""A detector that looks for nothing, and a selection that picks nothing."""
