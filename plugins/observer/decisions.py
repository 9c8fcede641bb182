"""Observer `decisions`: one JSON object a frame, with what was found, chosen and done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from agent.context import Context
from agent.factories import ObserverFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import FrameEvent
from core.files import LineFile


class Settings(PluginSettings):
    """Where the decisions go."""

    path: Path = Field(
        Path("runs/decisions.jsonl"),
        description="The file, one JSON object a line, relative to the working folder; it appears when the run ends.",
    )
    times: bool = Field(
        False, description="Whether to write each frame's end-to-end latency, which differs from run to run."
    )


class DecisionsObserver:
    """Writes beside `path` and moves the file there at the end.

    :raises UserError: the file cannot be written.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._lines = LineFile(settings.path)
        self._times = settings.times
        self._names = context.names

    def observe(self, event: FrameEvent) -> None:
        """Write one line."""
        self._lines.write(self._row(event))

    def close(self) -> None:
        """Put the file in its place."""
        self._lines.close()

    def _row(self, event: FrameEvent) -> dict[str, Any]:
        target, action = event.target, event.action
        row: dict[str, Any] = {"frame": event.frame.index, "episode": event.frame.episode}
        row["detections"] = len(event.detections)
        if target is not None:
            row["target"] = {
                "class": self._names[target.class_id],
                "box": [round(v, 3) for v in target.box],
                "error": [round(target.error_x, 3), round(target.error_y, 3)],
            }
        row["action"] = {"dx": action.dx, "dy": action.dy, "buttons": action.buttons}
        row["sent"], row["moved"] = event.sent, event.moved
        if event.veto is not None:
            row["veto"] = event.veto
        if self._times:
            row["end_to_end_ms"] = round((event.frame.acted_ns - event.frame.grab_ns) / 1e6, 4)
        return row


@hookimpl
def reticle_observer() -> ObserverFactory:
    """Offer `decisions`."""
    return ObserverFactory("decisions", DecisionsObserver, Settings, "one JSON object a frame: found, chosen, done")
