"""Live capture: a thread one frame ahead of the loop, and the slot that holds only the newest frame."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.roles import Capture
from agent.types import Frame


class Slot:
    """Holds one frame. A newer one replaces an unread one, which counts as dropped."""

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._frame: Frame | None = None
        self._ended = False
        self._error: BaseException | None = None
        self.dropped = 0

    def put(self, frame: Frame) -> None:
        """Offer the newest frame."""
        with self._ready:
            if self._frame is not None:
                self.dropped += 1
            self._frame = frame
            self._ready.notify()

    def end(self, error: BaseException | None = None) -> None:
        """Say that no frame will follow, and why when it is an error."""
        with self._ready:
            self._ended = True
            self._error = error
            self._ready.notify()

    def take(self, timeout_s: float) -> Frame | None:
        """Return the newest unread frame, waiting for one; None when the time is up or none will come.

        :raises BaseException: what the capture raised.
        """
        with self._ready:
            if self._frame is None and not self._ended:
                self._ready.wait(timeout_s)
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
            return frame

    @property
    def ended(self) -> bool:
        """Whether the last frame has been taken and none will follow."""
        with self._ready:
            return self._ended and self._frame is None and self._error is None


class CaptureThread:
    """Grabs as fast as the capture gives frames, into the slot."""

    def __init__(self, capture: Capture, slot: Slot) -> None:
        self._grab: Callable[[], Frame | None] = capture.grab
        self._slot = slot
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the grab under way; one that hangs is left behind."""
        self._stop = True
        self._thread.join(2.0)

    def _run(self) -> None:
        grab, put = self._grab, self._slot.put
        error: BaseException | None = None
        try:
            while not self._stop and (frame := grab()) is not None:
                put(frame)
        except BaseException as raised:
            error = raised
        self._slot.end(error)
