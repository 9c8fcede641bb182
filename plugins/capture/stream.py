"""Capture `stream`: a camera or capture card by its number or device, or a network stream (rtsp://, http://, ...)."""

from __future__ import annotations

import logging
import time
from typing import Any

import cv2
import numpy as np
from pydantic import Field

import core.video  # sets how much OpenCV's decoders say  # noqa: F401
from agent.context import Context
from agent.factories import CaptureFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Frame
from core.errors import UserError

RETRY_S = 0.5

log = logging.getLogger("reticle")


class Settings(PluginSettings):
    """What to watch."""

    source: int | str = Field(
        description="A device's number (0 is the first), its file such as /dev/video0, or a stream's address."
    )
    width: int | None = Field(None, ge=1, le=16384, description="The width that a device is asked for, pixels.")
    height: int | None = Field(None, ge=1, le=16384, description="The height that a device is asked for, pixels.")
    fps: float | None = Field(None, gt=0, le=1000, description="The pace that a device is asked for, frames a second.")
    timeout_s: float = Field(
        10.0,
        gt=0,
        le=600,
        description="How long a picture may take to come; then the stream is opened anew, seconds.",
    )
    reconnect_s: float = Field(
        30.0, ge=0, le=86400, description="How long to try to open what broke off again, before the run ends, seconds."
    )


class StreamCapture:
    """Reads ahead on the capture's thread, so that the newest picture wins; opens anew what broke off.

    :raises UserError: the run is in lock-step, or there is no picture within `timeout_s`.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        if context.lock_step:
            raise UserError("the capture stream is live, and this run is in lock-step; use `mode: live`")
        self._settings = settings
        self._closed = False
        self._index = 0
        self._video: Any = self._opened()
        if self._video is None:
            raise UserError(
                f"{settings.source}: no picture came within {settings.timeout_s:g} s; is the device or stream there, "
                "and does no other program hold it?"
            )

    def grab(self) -> Frame | None:
        """Return the next picture, or None once a stream that broke off stays away."""
        while not self._closed:
            grab_ns = time.perf_counter_ns()
            good, pixels = self._video.read()
            if good:
                frame = Frame(np.asarray(pixels, np.uint8), self._index, grab_ns, time.perf_counter_ns())
                # The wait for the picture is the source's; its age counts from its arrival.
                frame.grab_ns = frame.at_ns = frame.grabbed_ns
                self._index += 1
                return frame
            if not self._reconnected():
                break
        return None

    def close(self) -> None:
        """Let the device or stream go."""
        self._closed = True
        if self._video is not None:
            self._video.release()

    def _reconnected(self) -> bool:
        self._video.release()
        until = time.monotonic() + self._settings.reconnect_s
        log.warning("%s broke off; trying to open it again", self._settings.source)
        while not self._closed and time.monotonic() < until:
            self._video = self._opened()
            if self._video is not None:
                return True
            time.sleep(RETRY_S)
        return False

    def _opened(self) -> Any:
        """Return the open source, None where it gives no picture."""
        settings = self._settings
        device = isinstance(settings.source, int) or settings.source.isdigit() or settings.source.startswith("/dev/")
        source: Any = int(settings.source) if str(settings.source).isdigit() else settings.source
        limit_ms = int(settings.timeout_s * 1000)
        limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit_ms, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit_ms]
        try:
            video = cv2.VideoCapture(source) if device else cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        except cv2.error:
            return None
        if not video.isOpened():
            return None
        wanted = (
            (cv2.CAP_PROP_FRAME_WIDTH, settings.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, settings.height),
            (cv2.CAP_PROP_FPS, settings.fps),
        )
        for what, value in wanted:
            if device and value is not None:
                video.set(what, value)
        video.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return video


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `stream`."""
    return CaptureFactory("stream", StreamCapture, Settings, "a camera, a capture card, or a network stream")
