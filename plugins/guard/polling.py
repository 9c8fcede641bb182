"""Asking slow questions beside the loop: a thread asks again and again, the guard reads the last answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Polled:
    """The last answer of `ask`, a reason for a veto or None, asked every `interval_s` seconds.

    The first answer is there when this returns. An `ask` that raises has answered with a veto, and so has one
    that has not answered for much longer than it should.
    """

    def __init__(self, ask: Callable[[], str | None], interval_s: float, name: str) -> None:
        self._ask = ask
        self._interval_s = interval_s
        self._end = threading.Event()
        self._limit_ns = int((4 * interval_s + 1) * 1e9)
        self._answer = self._asked()
        self._asked_ns = time.perf_counter_ns()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def answer(self) -> str | None:
        """The last answer, a veto when it is too old."""
        if time.perf_counter_ns() - self._asked_ns > self._limit_ns:
            return "cannot tell: there has been no answer for too long"
        return self._answer

    def close(self) -> None:
        """Ask no more."""
        self._end.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        while not self._end.wait(self._interval_s):
            self._answer = self._asked()
            self._asked_ns = time.perf_counter_ns()

    def _asked(self) -> str | None:
        try:
            return self._ask()
        except Exception as error:
            return f"cannot tell: {type(error).__name__}: {error}"
