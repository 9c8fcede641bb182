"""Actuation `dry-run`: writes down each action it would take, and takes none."""

from __future__ import annotations

import time
from pathlib import Path

from pydantic import Field

from agent.context import Context
from agent.factories import ActuationFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import BUTTON_NAMES, Action
from core.files import LineFile


class Settings(PluginSettings):
    """Where the actions go."""

    path: Path = Field(
        Path("runs/actions.jsonl"),
        description="The file of actions, one JSON object a line, relative to the working folder; the last "
        "run's is replaced when this one ends.",
    )


class DryRunActuation:
    """Keeps the actions in a file beside `path` and moves it there at the end.

    :raises UserError: the file cannot be written.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._lines = LineFile(settings.path)
        self._started_ns = time.perf_counter_ns()

    def apply(self, action: Action) -> None:
        """Write the action down.

        :raises UserError: the disk is full.
        """
        self._lines.write(self._row(action))

    def release(self) -> None:
        """Do nothing: no button is down."""

    def close(self) -> None:
        """Put the file in its place."""
        self._lines.close()

    def _row(self, action: Action) -> dict[str, object]:
        row: dict[str, object] = {
            "t_ms": round((time.perf_counter_ns() - self._started_ns) / 1e6, 3),
            "dx": action.dx,
            "dy": action.dy,
            "buttons": [name for mask, name in BUTTON_NAMES.items() if action.buttons & mask],
        }
        if action.point is not None:
            row["point"] = action.point
        return row


@hookimpl
def reticle_actuation() -> ActuationFactory:
    """Offer `dry-run`."""
    return ActuationFactory(
        "dry-run",
        DryRunActuation,
        Settings,
        "writes down each action it would take",
        reaches="nothing",
        dry_run=True,
    )
