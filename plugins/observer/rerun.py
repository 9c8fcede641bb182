"""Observer `rerun`: frames, boxes, target, aim error, actions and stage times on one timeline. `--rerun FILE` adds it.

Rerun's viewer opens the file (`rerun FILE.rrd`); it goes nowhere else.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import cv2
from pydantic import Field

from agent.context import Context
from agent.factories import ObserverFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import FrameEvent
from core.command import COMMAND
from core.errors import UserError
from core.files import PendingFile, cannot_write
from plugins.observer.trace import stages

TIMELINE = "run"
"""Seconds since the first frame, on the frames' own clock."""
FRAMES = "frame"
CAMERA = "camera"
"""Where pictures are, and below it what lies on them."""


class Settings(PluginSettings):
    """Where the recording goes, and how large its pictures are."""

    path: Path = Field(description="The recording, .rrd.")
    jpeg_quality: int = Field(80, ge=1, le=100, description="Of its pictures.")


class RerunObserver:
    """Writes what happened to each frame, on the observers' thread; the file is complete or not there.

    :raises UserError: the file cannot be written, or the package rerun-sdk is not installed.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        check(settings, context)
        import rerun

        self._rerun = rerun
        self._names = context.names
        self._quality = [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality]
        self._first_ns: int | None = None
        self._pending = PendingFile(context.path(settings.path), ".rrd")
        self._stream = rerun.RecordingStream("reticle", send_properties=False)
        try:
            self._stream.save(self._pending.path)
        except RuntimeError as error:
            self._pending.discard()
            raise UserError(f"{self._pending.target}: the recording cannot be written: {error}") from error
        self._stream.set_log_time_enabled(False)

    def observe(self, event: FrameEvent) -> None:
        """Add one frame."""
        rr, frame = self._rerun, event.frame
        if self._first_ns is None:
            self._first_ns = frame.at_ns
        self._stream.set_time(TIMELINE, duration=(frame.at_ns - self._first_ns) / 1e9)
        self._stream.set_time(FRAMES, sequence=frame.index)
        if event.pixels is not None:
            done, coded = cv2.imencode(".jpg", event.pixels, self._quality)
            if done:
                self._stream.log(CAMERA, rr.EncodedImage(contents=coded.tobytes(), media_type="image/jpeg"))
        self._boxes(event)
        self._numbers(event)
        if event.veto is not None:
            self._stream.log("vetoes", rr.TextLog(f"{event.veto[0]}: {event.veto[1]}", level="WARN"))

    def _boxes(self, event: FrameEvent) -> None:
        rr, found = self._rerun, event.detections
        labels = [
            f"{self._names[kind] if kind < len(self._names) else kind} {score:.2f}"
            for kind, score in zip(found.class_id, found.confidence, strict=True)
        ]
        boxes = rr.Boxes2D(array=found.xyxy, array_format=rr.Box2DFormat.XYXY, labels=labels, class_ids=found.class_id)
        self._stream.log(f"{CAMERA}/detections", boxes)
        target = event.target
        if target is None:
            self._stream.log(f"{CAMERA}/target", rr.Clear(recursive=False))
            return
        self._stream.log(f"{CAMERA}/target", rr.Points2D([(target.aim_x, target.aim_y)], radii=4.0))
        self._number("aim/error_px", math.hypot(target.error_x, target.error_y))

    def _numbers(self, event: FrameEvent) -> None:
        action, sent = event.action, event.sent
        self._number("action/dx", action.dx if sent else 0)
        self._number("action/dy", action.dy if sent else 0)
        self._number("action/buttons", action.buttons if sent else 0)
        frame = event.frame
        self._number("stages_ms/grab", (frame.grabbed_ns - frame.grab_ns) / 1e6)
        for name, start, end in stages(frame):
            self._number(f"stages_ms/{name}", (end - start) / 1e6)
        self._number("stages_ms/end_to_end", (frame.acted_ns - frame.grab_ns) / 1e6)

    def _number(self, path: str, value: float) -> None:
        self._stream.log(path, self._rerun.Scalars(float(value)))

    def close(self) -> None:
        """Put the recording in its place.

        :raises UserError: it cannot be written; then nothing is left of it.
        """
        try:
            self._stream.flush()
            self._stream.disconnect()
            if self._first_ns is not None:
                self._pending.commit()
        except OSError as error:
            raise cannot_write(self._pending.target, error) from error
        finally:
            self._pending.discard()


def check(settings: Settings, context: Context) -> None:
    """See that the recording can be made.

    :raises UserError: its name ends otherwise, or the package is not installed.
    """
    if settings.path.suffix.lower() != ".rrd":
        raise UserError(f"{settings.path}: the recording's name must end in .rrd")
    if importlib.util.find_spec("rerun") is None:
        extra = COMMAND.replace("uv run", "uv run --extra rerun")
        raise UserError(
            f"a recording for Rerun needs the package rerun-sdk, the extra `rerun`: {extra} ... (without uv: "
            "`pip install rerun-sdk`)"
        )


@hookimpl
def reticle_observer() -> ObserverFactory:
    """Offer `rerun`."""
    return ObserverFactory(
        "rerun",
        RerunObserver,
        Settings,
        "frames, boxes, aim error and stage times for Rerun's viewer",
        check=check,
        output="rerun",
        wants_pixels=True,
    )
