"""Guard `process-argument`: acts only while the game runs with a required argument.

A game started with `-insecure`, say, cannot join a server that VAC secures.
"""

from __future__ import annotations

import psutil
from pydantic import Field

from agent.context import Context
from agent.factories import GuardFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Action, Frame
from plugins.guard.polling import Polled


class Settings(PluginSettings):
    """Which process, and what it must have been started with."""

    process: str = Field(min_length=1, description="The process's name, with or without .exe, in upper or lower case.")
    argument: str = Field(min_length=1, description="The argument that must be on its command line.")
    interval_s: float = Field(1.0, gt=0, le=10, description="How often processes are listed, seconds.")


class ProcessArgumentGuard:
    """Lists processes on a thread of its own. Every process of that name must have the argument."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._name = settings.process.casefold().removesuffix(".exe")
        self._settings = settings
        self._polled = Polled(self._ask, settings.interval_s, "process-argument")

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Veto while the process is missing, or runs without the argument."""
        return self._polled.answer

    def close(self) -> None:
        """Stop listing."""
        self._polled.close()

    def _ask(self) -> str | None:
        lines = [
            process.info["cmdline"]
            for process in psutil.process_iter(["name", "cmdline"])
            if (process.info["name"] or "").casefold().removesuffix(".exe") == self._name
        ]
        if not lines:
            return f"{self._settings.process} is not running"
        if all(self._settings.argument in (line or [])[1:] for line in lines):
            return None
        return f"{self._settings.process} runs without {self._settings.argument}"


@hookimpl
def reticle_guard() -> GuardFactory:
    """Offer `process-argument`."""
    return GuardFactory(
        "process-argument",
        ProcessArgumentGuard,
        Settings,
        "only while the game runs with a required argument",
        watches_desktop=True,
    )
