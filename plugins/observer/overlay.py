"""Observer `overlay`: a video of the run with boxes, target and crosshair. `--overlay FILE.mp4` adds it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from agent.context import Context
from agent.drawing import Canvas
from agent.factories import ObserverFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import FrameEvent
from core.errors import UserError
from core.files import PendingFile
from core.video import VideoFile

MOST_REPEATS = 300
"""A pause longer than this many pictures is shortened to it."""


class Settings(PluginSettings):
    """Where the video goes."""

    path: Path = Field(description="The video, .mp4.")
    fps: float = Field(35.0, gt=0, le=240, description="Pictures a second of the video.")


class OverlayObserver:
    """Draws on a copy of the frame and writes it, on the observers' thread; the file is complete or not there.

    Live, a picture stays for as long as it did in the run; in lock-step each frame is one picture.

    :raises UserError: the file cannot be written.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._path = context.path(settings.path)
        self._fps = settings.fps
        self._real_time = not context.lock_step
        self._canvas = Canvas(context.names, context.crosshair)
        self._writer: VideoFile | None = None
        self._first_ns = 0
        self._written = 0
        self._pending = PendingFile(self._path, ".mp4")

    def observe(self, event: FrameEvent) -> None:
        """Add one frame."""
        if event.pixels is None:
            return
        picture = self._canvas.drawn(event)
        if self._writer is None:
            size = (picture.shape[1], picture.shape[0])
            self._writer = VideoFile(self._pending.path, self._path, "mp4v", self._fps, size)
            self._first_ns = event.frame.grab_ns
        due = self._written + 1
        if self._real_time:
            due = min(self._written + MOST_REPEATS, round((event.frame.grab_ns - self._first_ns) / 1e9 * self._fps) + 1)
        while self._written < due:
            self._writer.write(picture)
            self._written += 1

    def close(self) -> None:
        """Put the video in its place.

        :raises UserError: it is not whole; then nothing is left of it.
        """
        try:
            if self._writer is not None:
                self._writer.close()
                self._pending.commit()
        finally:
            self._pending.discard()


def _check(settings: Settings, context: Context) -> None:
    if settings.path.suffix.lower() != ".mp4":
        raise UserError(f"{settings.path}: the video's name must end in .mp4")


@hookimpl
def reticle_observer() -> ObserverFactory:
    """Offer `overlay`."""
    return ObserverFactory(
        "overlay",
        OverlayObserver,
        Settings,
        "a video with boxes, target and crosshair",
        check=_check,
        output="overlay",
        wants_pixels=True,
    )
