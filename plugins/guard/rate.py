"""Guard `rate`: at most so many counts and so many clicks in any second."""

from __future__ import annotations

from collections import deque

from pydantic import Field

from agent.context import Context
from agent.factories import GuardFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Action, Frame

WINDOW_NS = 1_000_000_000


class Settings(PluginSettings):
    """The limits over any one second, by what was carried out."""

    max_counts_per_s: int = Field(
        20000, gt=0, description="The most counts a second, the larger of both axes of each action added up."
    )
    max_clicks_per_s: int = Field(15, gt=0, description="The most presses of buttons a second.")


class RateGuard:
    """Sums over a window of one second that slides along."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._max_counts = settings.max_counts_per_s
        self._max_clicks = settings.max_clicks_per_s
        self._passed: deque[tuple[int, int, int]] = deque()
        self._counts = 0
        self._clicks = 0

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Veto the action that would go over a limit."""
        passed = self._passed
        while passed and passed[0][0] <= now_ns - WINDOW_NS:
            _, counts, clicks = passed.popleft()
            self._counts -= counts
            self._clicks -= clicks
        counts, clicks = max(abs(action.dx), abs(action.dy)), presses.bit_count()
        if self._counts + counts > self._max_counts:
            return f"more than {self._max_counts} counts a second"
        if clicks and self._clicks + clicks > self._max_clicks:
            return f"more than {self._max_clicks} clicks a second"
        return None

    def carried_out(self, action: Action, presses: int, now_ns: int) -> None:
        """Add the action to the last second's."""
        counts, clicks = max(abs(action.dx), abs(action.dy)), presses.bit_count()
        self._counts += counts
        self._clicks += clicks
        self._passed.append((now_ns, counts, clicks))


@hookimpl
def reticle_guard() -> GuardFactory:
    """Offer `rate`."""
    return GuardFactory("rate", RateGuard, Settings, "at most so many counts and clicks a second")
