"""Live capture on a thread of its own, and the slot that holds only the newest frame.

A capture whose pictures come by themselves (a game's, a video's) runs ahead of the loop. One whose picture is there at
any time (the screen's) grabs when the loop is ready for it: a frame that waits for the loop is the older for it, by
half of a frame's time on average, and a grab takes far less than that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.roles import Capture, OnDemandCapture
from agent.types import Frame


class Slot:
    """Holds one frame; a newer one replaces an unread one, which counts as dropped.

    One thread puts, and at last ends; another wants and takes.

    Made of plain locks, since a condition is Python code that both threads run under the interpreter's lock before the
    frame is in other hands. `queue.SimpleQueue` is faster, but hands a waiting thread a frame that a newer one can no
    longer replace (Python 3.13), and may wait for ever after a signal (3.11).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ready = _held()  # let go for each frame that finds the slot empty, and at the end
        self._asking = _held()  # let go for each wish
        self._frame: Frame | None = None
        self._wanted = self._closed = False
        self._error: BaseException | None = None
        self.dropped = 0

    def put(self, frame: Frame) -> None:
        """Offer the newest frame."""
        with self._lock:
            unread, self._frame, self._wanted = self._frame, frame, False
            self.dropped += unread is not None
        if unread is None:
            self._ready.release()

    def want(self) -> None:
        """Ask a capture that waits for it to grab; a wish stands until a frame is there."""
        with self._lock:
            asks = self._frame is None and not self._wanted
            self._wanted |= asks
        if asks:
            self._asking.release()

    def asked(self, timeout_s: float) -> bool:
        """Wait until the loop wants a frame; False when the time is up."""
        return self._asking.acquire(timeout=timeout_s)

    def end(self, error: BaseException | None = None) -> None:
        """Say that no frame will follow, and why when it is an error."""
        with self._lock:
            self._closed, self._error = True, error
            empty = self._frame is None
        if empty:
            self._ready.release()

    def take(self, timeout_s: float) -> Frame | None:
        """Return the newest unread frame, waiting for one; None when the time is up or none will come.

        :raises BaseException: what the capture raised.
        """
        if not self._ready.acquire(timeout=timeout_s):
            return None
        with self._lock:
            frame, self._frame = self._frame, None
            if self._closed:
                self._ready.release()  # the next call is to hear of it at once
        if frame is None and self._error is not None:
            raise self._error
        return frame

    @property
    def ended(self) -> bool:
        """Whether the last frame has been taken and none will follow."""
        with self._lock:
            return self._closed and self._frame is None and self._error is None


def _held() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


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
