"""Actuation `dry-run`: writes down each action it would take, and takes none."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import IO

from pydantic import Field

from agent.errors import UserError
from agent.hookspecs import Context, Maker, PluginSettings, hookimpl
from agent.types import BUTTON_NAMES, Action


class Settings(PluginSettings):
    """Where the actions go."""

    path: Path = Field(
        Path("runs/actions.jsonl"),
        description="The file of actions, one JSON object a line, relative to the working folder; the last "
        "run's is replaced when this one ends.",
    )


class DryRunActuation:
    """Keeps the actions in a file beside `path` and moves it there at the end."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._path = settings.path
        self._part = settings.path.with_name(settings.path.name + ".part")
        self._file: IO[str] | None = None
        self._started_ns = time.perf_counter_ns()

    def apply(self, action: Action) -> None:
        """Write the action down.

        :raises UserError: the file cannot be written.
        """
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._part.open("w", encoding="utf-8")
            self._file.write(json.dumps(self._row(action)) + "\n")
        except OSError as error:
            raise UserError(f"{self._path}: actions cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Do nothing: no button is down."""

    def close(self) -> None:
        """Put the file in its place."""
        if self._file is not None:
            self._file.close()
            self._part.replace(self._path)

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
def reticle_actuation() -> Maker:
    """Offer `dry-run`."""
    return Maker(
        "dry-run",
        DryRunActuation,
        Settings,
        "writes down each action it would take",
        duties=frozenset({"dry-run"}),
        reaches="nothing",
    )
