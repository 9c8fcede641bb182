"""Guard `window-title`: acts only while the game's window has the focus."""

from __future__ import annotations

from pydantic import Field

from agent.context import Context
from agent.factories import GuardFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Action, Frame
from plugins.desktop.windows import FocusedWindow
from plugins.guard.polling import Polled


class Settings(PluginSettings):
    """Which window."""

    title: str = Field(min_length=1, description="What the title of the focused window must contain.")
    interval_ms: float = Field(100.0, gt=0, le=1000, description="How often the title is read, milliseconds.")


class WindowTitleGuard:
    """Reads the focused window's title on a thread of its own.

    :raises UserError: the window system cannot be asked.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._wanted = settings.title.casefold()
        self._title = settings.title
        self._window = FocusedWindow()
        self._polled = Polled(self._ask, settings.interval_ms / 1e3, "window-title")

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Veto while another window has the focus."""
        return self._polled.answer

    def close(self) -> None:
        """Stop reading."""
        self._polled.close()
        self._window.close()

    def _ask(self) -> str | None:
        if self._wanted in self._window.title().casefold():
            return None
        return f"the focused window is not {self._title!r}"


@hookimpl
def reticle_guard() -> GuardFactory:
    """Offer `window-title`."""
    return GuardFactory(
        "window-title",
        WindowTitleGuard,
        Settings,
        "only while the game's window has the focus",
        watches_desktop=True,
    )
