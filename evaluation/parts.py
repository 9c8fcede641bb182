"""What commands put between the parts of a run."""

from __future__ import annotations

from collections.abc import Callable

from agent.roles import Capture
from agent.types import Frame


class Until:
    """A capture that has no more frames once `ended` says so."""

    def __init__(self, capture: Capture, ended: Callable[[], bool]) -> None:
        self._grab = capture.grab
        self._ended = ended

    def grab(self) -> Frame | None:
        """Return the next frame."""
        return None if self._ended() else self._grab()
