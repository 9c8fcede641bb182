"""Live capture on a thread of its own, and the slot that holds only the newest frame.

A capture whose pictures come by themselves (a game's, a video's) runs ahead of the loop. One whose picture is there at
any time (the screen's) grabs when the loop is ready for it: a frame that waits for the loop is the older for it, by
half of a frame's time on average, and a grab takes far less than that.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from agent.roles import Capture, OnDemandCapture
from agent.types import Frame


class Slot:
    """Holds one frame. A newer one replaces an unread one, which counts as dropped.

    Between one thread that puts and one that takes. By queues, since a condition's code runs under the interpreter's
    lock on either side: handing a frame over takes them half as long.
    """

    def __init__(self) -> None:
        self._frames: SimpleQueue[Frame | None] = SimpleQueue()  # None: none will follow
        self._wants: SimpleQueue[None] = SimpleQueue()
        self._error: BaseException | None = None
        self._closed = False
        self.dropped = 0

    def put(self, frame: Frame) -> None:
        """Offer the newest frame."""
        if not self._frames.empty():
            with contextlib.suppress(Empty):  # it has just been taken
                self._frames.get_nowait()
                self.dropped += 1
        self._frames.put(frame)

    def want(self) -> None:
        """Ask a capture that waits for it to grab."""
        if self._frames.empty() and self._wants.empty():
            self._wants.put(None)

    def asked(self, timeout_s: float) -> bool:
        """Wait until the loop wants a frame; False when the time is up."""
        try:
            self._wants.get(timeout=timeout_s)
        except Empty:
            return False
        return True

    def end(self, error: BaseException | None = None) -> None:
        """Say that no frame will follow, and why when it is an error."""
        self._error = error
        self._frames.put(None)
        self._closed = True

    def take(self, timeout_s: float) -> Frame | None:
        """Return the newest unread frame, waiting for one; None when the time is up or none will come.

        :raises BaseException: what the capture raised.
        """
        try:
            frame = self._frames.get(timeout=timeout_s)
        except Empty:
            return None
        if frame is None:
            self._frames.put(None)  # for the next to ask
            if self._error is not None:
                raise self._error
        return frame

    @property
    def ended(self) -> bool:
        """Whether the last frame has been taken and none will follow."""
        return self._closed and self._frames.qsize() == 1 and self._error is None


class CaptureThread:
    """Grabs into the slot: as fast as the capture gives frames, or when it is asked."""

    def __init__(self, capture: Capture, slot: Slot) -> None:
        self._grab: Callable[[], Frame | None] = capture.grab
        self._slot = slot
        self.on_demand = isinstance(capture, OnDemandCapture) and capture.on_demand
        self._stop = False
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop after the grab under way; one that hangs is left behind."""
        self._stop = True
        self._thread.join(2.0)

    def _run(self) -> None:
        grab, slot = self._grab, self._slot
        error: BaseException | None = None
        try:
            while not self._stop:
                if self.on_demand and not slot.asked(0.05):
                    continue
                frame = grab()
                if frame is None:
                    break
                slot.put(frame)
        except BaseException as raised:
            error = raised
        self._slot.end(error)
