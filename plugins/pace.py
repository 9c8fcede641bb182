"""Keeping to so many grabs a second."""

from __future__ import annotations

import time


class Pace:
    """Waits until a period has passed since the last time; periods that were missed are not made up for.

    :param period_ns: 0 never waits.
    """

    def __init__(self, period_ns: int) -> None:
        self._period_ns = period_ns
        self._next_ns = 0

    def wait(self) -> None:
        """Sleep until it is time."""
        if not self._period_ns:
            return
        now = time.perf_counter_ns()
        if now < self._next_ns:
            time.sleep((self._next_ns - now) / 1e9)
        self._next_ns = max(now, self._next_ns) + self._period_ns
