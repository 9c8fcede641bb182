"""Capture `footage`: a video file, a folder of images, or a recording (`--record`)."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import cv2
from pydantic import Field

from agent.context import Context
from agent.factories import CaptureFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.recording import frames, is_recording
from agent.types import Frame
from core.errors import UserError
from core.images import images_in, read_image


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
            self._images = _images(path)
        else:
            self._images, fps = _video(path)
        self._paced = not context.lock_step
        self._period_ns = 1e9 / (settings.fps or fps)
        self._started_ns = 0
        self._index = 0

    def grab(self) -> Frame | None:
        """Return the next frame, or None at the end.

        :raises UserError: the footage breaks off or an image cannot be read.
        """
        if self._recorded is not None:
            return self._again(self._recorded)
        if self._paced:
            self._pace()
        grab_ns = time.perf_counter_ns()
        pixels = next(self._images, None)
        if pixels is None:
            return None
        frame = Frame(pixels, self._index, grab_ns, time.perf_counter_ns())
        if not self._paced:
            frame.at_ns = int(self._index * self._period_ns) + 1
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

    def _pace(self) -> None:
        now = time.perf_counter_ns()
        self._started_ns = self._started_ns or now
        due = self._started_ns + self._index * self._period_ns
        if now < due:
            time.sleep((due - now) / 1e9)


def check(settings: Settings, context: Context) -> None:
    """See that the footage is there, where the profile names it.

    :raises UserError: it is not.
    """
    if settings.path is not None and not context.path(settings.path).exists():
        raise UserError(f"{context.path(settings.path)}: there is no such footage")


def _images(folder: Path) -> Any:
    files = images_in(folder)

    def read() -> Iterator[Any]:
        for file in files:
            pixels = read_image(file)
            if pixels is None:
                raise UserError(f"{file}: this image cannot be read; remove it or put it right")
            yield pixels

    return read()


def _video(path: Path) -> tuple[Any, float]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such footage")
    video = cv2.VideoCapture(str(path))
    opened, first = video.read() if video.isOpened() else (False, None)
    if not opened:
        video.release()
        raise UserError(f"{path}: this video cannot be read; is it complete, and is it a video?")
    expected = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    fps = video.get(cv2.CAP_PROP_FPS)

    def read() -> Iterator[Any]:
        count = 1
        try:
            yield first
            while True:
                # A fresh array each time: live, the loop still holds the last one.
                read, pixels = video.read()
                if not read:
                    break
                count += 1
                yield pixels
            # Containers round their frame count; more than a hundredth missing is a file cut short.
            if count < expected - max(2, expected // 100):
                raise UserError(
                    f"{path}: the video breaks off after {count} of {expected} frames; it is cut short or damaged"
                )
        finally:
            video.release()

    return read(), fps if 0 < fps < 1000 else 30.0


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
