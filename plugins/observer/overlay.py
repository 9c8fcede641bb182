"""Observer `overlay`: a video of the run with boxes, target and crosshair. `--overlay FILE.mp4` adds it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
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

FPS = 35.0


class Settings(PluginSettings):
    """Where the video goes."""

    path: Path = Field(description="The video, .mp4.")
    fps: float | None = Field(
        None,
        gt=0,
        le=240,
        description="Pictures a second of the video; by default 35 live, and the frames' own pace in lock-step.",
    )


class OverlayObserver:
    """Draws on a copy of the frame and writes it, on the observers' thread; the file is complete or not there.

    Live, a picture stays for as long as it did in the run; in lock-step each frame is one picture.

    :raises UserError: the file cannot be written.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._path = context.path(settings.path)
        self._real_time = not context.lock_step
        self._fps = settings.fps or (FPS if self._real_time else None)
        self._pace = self._fps or FPS
        self._first: tuple[NDArray[np.uint8], int] | None = None
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
            if self._fps is None and self._first is None:
                self._first = picture, event.frame.at_ns  # the second tells the pace
                return
            self._begin(picture, event)
        due = self._written + 1
        if self._real_time:
            passed_s = (event.frame.grab_ns - self._first_ns) / 1e9
            due = min(self._written + MOST_REPEATS, round(passed_s * self._pace) + 1)
        while self._written < due:
            self._write(picture)

    def _begin(self, picture: NDArray[np.uint8], event: FrameEvent) -> None:
        if self._fps is None and self._first is not None:
            between_ns = event.frame.at_ns - self._first[1]
            self._pace = min(max(1e9 / between_ns, 1.0), 240.0) if between_ns > 0 else FPS
        size = (picture.shape[1], picture.shape[0])
        self._writer = VideoFile(self._pending.path, self._path, "mp4v", self._pace, size)
        self._first_ns = event.frame.grab_ns
        if self._first is not None:
            self._write(self._first[0])

    def _write(self, picture: NDArray[np.uint8]) -> None:
        assert self._writer is not None
        self._writer.write(picture)
        self._written += 1

    def close(self) -> None:
        """Put the video in its place.

        :raises UserError: it is not whole; then nothing is left of it.
        """
        try:
            if self._writer is None and self._first is not None:  # a run of one frame
                self._writer = VideoFile(
                    self._pending.path, self._path, "mp4v", FPS, (self._first[0].shape[1], self._first[0].shape[0])
                )
                self._write(self._first[0])
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
