"""Observers on a thread of their own, behind a bounded queue: slow ones lose events, none delays the loop."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Sequence

from agent.roles import Observer
from agent.types import FrameEvent
from core.errors import UserError, summary

CAPACITY = 128
PICTURE_CAPACITY = 48
"""The longest that the queue grows, and where each event carries a copy of its picture: some 60 MB at 640x480."""
PATIENCE_S = 2.0

log = logging.getLogger("reticle")


class ObserverQueue:
    """Hands events to observers, in order.

    :param observers: (name, observer).
    :param wait: lock-step only: a full queue makes the sender wait, since there no frame is late and a
        recording with holes could not be compared. It waits for `PATIENCE_S` at most, and then never again.
    """

    def __init__(self, observers: Sequence[tuple[str, Observer]], wants_pixels: bool, wait: bool) -> None:
        self.active = bool(observers)
        self.wants_pixels = wants_pixels
        self.dropped = 0
        self.failed: dict[str, int] = {}
        self.reasons: dict[str, str] = {}
        """Why each first failed."""
        self._observers = tuple(observers)
        self._wait = wait
        self._queue: queue.Queue[FrameEvent | None] = queue.Queue(PICTURE_CAPACITY if wants_pixels else CAPACITY)
        self._thread = threading.Thread(target=self._serve, name="observers", daemon=True)
        if self.active:
            self._thread.start()

    def send(self, event: FrameEvent) -> None:
        """Queue one event, or count it as dropped when the queue is full."""
        try:
            self._queue.put(event, block=self._wait, timeout=PATIENCE_S if self._wait else None)
        except queue.Full:
            self._wait = False
            self.dropped += 1

    def close(self, timeout_s: float = 5.0) -> None:
        """Let the observers finish what is queued, for at most `timeout_s` seconds."""
        if not self.active:
            return
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_s)
            self._thread.join(timeout_s)
        if self._thread.is_alive():
            self.dropped += self._queue.qsize()

    def _serve(self) -> None:
        while (event := self._queue.get()) is not None:
            for name, observer in self._observers:
                try:
                    observer.observe(event)
                except BaseException as error:  # sys.exit() in an observer must not silence the others either
                    if name not in self.failed:
                        self.reasons[name] = str(error) if isinstance(error, UserError) else summary(error)
                        log.error("observer %s failed: %s", name, self.reasons[name])
                    self.failed[name] = self.failed.get(name, 0) + 1
