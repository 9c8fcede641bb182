"""Guard `staleness`: no action on a frame that is too old."""

from __future__ import annotations

from pydantic import Field

from agent.context import Context
from agent.factories import GuardFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Action, Frame


class Settings(PluginSettings):
    """How old is too old."""

    max_age_ms: float = Field(
        100.0, gt=0, description="The most time from the start of the grab to the action, milliseconds."
    )


class StalenessGuard:
    """Compares the frame's age with the limit."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._limit_ns = int(settings.max_age_ms * 1e6)
        self._reason = f"the frame is older than {settings.max_age_ms:g} ms"

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Veto an old frame."""
        return self._reason if now_ns - frame.grab_ns > self._limit_ns else None


@hookimpl
def reticle_guard() -> GuardFactory:
    """Offer `staleness`."""
    return GuardFactory(
        "staleness",
        StalenessGuard,
        Settings,
        "no action on a frame that is too old",
        max_age_ms=lambda settings: settings.max_age_ms,
    )
