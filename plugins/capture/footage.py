"""Capture `footage`: a video file, a folder of images, or a recording (`--record`)."""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from agent.context import Context
from agent.factories import CaptureFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.recording import frames, is_recording
from agent.types import Frame
from core.errors import UserError
from core.images import images_in, read_image
from core.video import pictures


class Settings(PluginSettings):
    """What to play."""

    path: Path | None = Field(
        None, description="A video file or a folder of images, relative to the profile; or give `--footage`."
    )
    fps: float | None = Field(
        None, ge=0.01, le=1000, description="The pace of a live run, frames a second; the video's own, 30 for images."
    )


class FootageCapture:
    """Gives the frames in order, BGR; in lock-step as fast as the loop takes them, live at their own pace.

    :raises UserError: there is no footage, or it cannot be read.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        if settings.path is None:
            raise UserError("there is no footage to play: give --footage FILE_OR_FOLDER, or capture.path")
        path = context.path(settings.path)
        self._recorded: Iterator[Frame] | None = None
        self._images: Any = iter(())
        fps = 30.0
        if is_recording(path):
            self._recorded = frames(path)  # which carry their own times
        elif path.is_dir():
            self._images = _images(path, settings.fps or fps)
        else:
            self._images, fps = pictures(path)
        self._paced = not context.lock_step
        # A pace of the user's own stretches the footage's times.
        self._stretch = 1e9 * fps / (settings.fps or fps) if not path.is_dir() else 1e9
        self._started_ns = 0
        self._index = 0

    def grab(self) -> Frame | None:
        """Return the next frame, or None at the end.

        :raises UserError: the footage breaks off or an image cannot be read.
        """
        if self._recorded is not None:
            return self._again(self._recorded)
        grab_ns = time.perf_counter_ns()
        given = next(self._images, None)
        if given is None:
            return None
        pixels, at_s = given
        if self._paced:
            self._pace(int(at_s * self._stretch))
            grab_ns = time.perf_counter_ns()
        frame = Frame(pixels, self._index, grab_ns, time.perf_counter_ns())
        if not self._paced:
            frame.at_ns = int(at_s * self._stretch) + 1
        self._index += 1
        return frame

    def _again(self, recorded: Iterator[Frame]) -> Frame | None:
        """Return the recording's next frame: its own number, episode, origin and time, grabbed now."""
        grab_ns = time.perf_counter_ns()
        frame = next(recorded, None)
        if frame is None:
            return None
        if self._paced:
            due_ns = self._started_ns + frame.at_ns
            if not self._started_ns:
                self._started_ns = grab_ns - frame.at_ns
            elif grab_ns < due_ns:
                time.sleep((due_ns - grab_ns) / 1e9)
        frame.grab_ns = grab_ns if not self._paced else time.perf_counter_ns()
        frame.grabbed_ns = time.perf_counter_ns()
        return frame

    def close(self) -> None:
        """Close the file."""
        for given in (self._images, self._recorded):
            if isinstance(given, Generator):
                given.close()

    def _pace(self, at_ns: int) -> None:
        now = time.perf_counter_ns()
        self._started_ns = self._started_ns or now
        due = self._started_ns + at_ns
        if now < due:
            time.sleep((due - now) / 1e9)


def check(settings: Settings, context: Context) -> None:
    """See that the footage is there, where the profile names it.

    :raises UserError: it is not.
    """
    if settings.path is None:
        return
    if re.search(r"(^|/)[a-z]{2,}:/", settings.path.as_posix()) or settings.path.as_posix().startswith("/dev/video"):
        raise UserError(f"{settings.path}: streams and cameras are live; use the capture `stream`, source: ...")
    if not context.path(settings.path).exists():
        raise UserError(f"{context.path(settings.path)}: there is no such footage")


def _images(folder: Path, fps: float) -> Iterator[tuple[Any, float]]:
    files = images_in(folder)
    return ((read_image(file), i / fps) for i, file in enumerate(files))


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `footage`."""
    return CaptureFactory(
        "footage",
        FootageCapture,
        Settings,
        "a video file or a folder of images",
        plays_recordings=True,
        check=check,
    )
