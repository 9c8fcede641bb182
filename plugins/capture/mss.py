"""Capture `mss`: a region of the screen, BGRA as the window system gives it, without a copy."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from pydantic import Field

from agent.context import Context
from agent.factories import CaptureFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Frame
from core.errors import UserError
from plugins.desktop.windows import find_window
from plugins.pace import Pace

CHANGE_NS = 100_000_000
"""A picture that stays the same is given again after so long, so that the loop need not wait for ever."""


class Settings(PluginSettings):
    """Which part of the screen."""

    monitor: int = Field(1, ge=0, description="1 is the first monitor, 0 all of them as one picture.")
    window: str | None = Field(
        None, description="Count the region from the window whose title contains this, not from the monitor."
    )
    width: int | None = Field(None, gt=0, description="The region's width, pixels; all of it by default.")
    height: int | None = Field(None, gt=0, description="The region's height, pixels; all of it by default.")
    left: int | None = Field(
        None, description="The region's left edge from the monitor's or window's, pixels; centred by default."
    )
    top: int | None = Field(
        None, description="The region's top edge from the monitor's or window's, pixels; centred by default."
    )
    skip_duplicates: bool = Field(
        False,
        description="Leave out frames that are to the last bit the one before: a game draws fewer than are grabbed.",
    )
    max_fps: float | None = Field(
        240.0,
        gt=0,
        description="Grab no more frames a second than this; null grabs without a pause, which takes a core.",
    )


class MssCapture:
    """Grabs one region, always the same.

    :raises UserError: there is no screen, no such monitor or window, or the region lies outside it.
    """

    on_demand = True

    def __init__(self, settings: Settings, context: Context) -> None:
        import mss

        self._error = mss.ScreenShotError
        self._make = mss.MSS
        self._mss: Any = None  # opened by the thread that grabs: on Windows its handles belong to one thread
        self._index = 0
        self._pace = Pace(int(1e9 / settings.max_fps) if settings.max_fps else 0)
        self._skip = settings.skip_duplicates
        self._raw = self._last = bytearray()
        try:
            with mss.MSS() as screen:
                monitors = screen.monitors
        except (mss.ScreenShotError, OSError) as error:
            if "Library" in str(error):
                raise UserError(
                    f"the screen cannot be captured: {_line(error)}; install X11's libraries (on Debian: "
                    "apt install libxcb1 libxcb-render0 libxcb-randr0 libxcb-shm0 libxcb-xfixes0)"
                ) from error
            raise UserError(
                f"there is no screen to capture ({_line(error)}): start it in a desktop session, with DISPLAY "
                "set, or without a screen under xvfb-run"
            ) from error
        self.region = region(settings, monitors)
        self._origin = (self.region["left"], self.region["top"])
        self._shape = (self.region["height"], self.region["width"], 4)

    def grab(self) -> Frame:
        """Return the region as it is now, BGRA; with `skip_duplicates`, once it has changed or CHANGE_S have passed.

        :raises UserError: the screen went away.
        """
        until_ns = time.perf_counter_ns() + CHANGE_NS
        while True:
            self._pace.wait()
            frame = self._grab()
            if not self._skip or frame.grab_ns > until_ns:
                return frame
            if self._raw != self._last:
                self._last = self._raw
                return frame

    def _grab(self) -> Frame:
        grab_ns = time.perf_counter_ns()
        try:
            if self._mss is None:
                self._mss = self._make()
            shot = self._mss.grab(self.region)
        except (self._error, OSError, AssertionError) as error:  # mss asserts that the server answers
            raise UserError(f"the screen was lost while grabbing {self.region}: {_line(error)}") from error
        # `raw` is a bytearray of this grab alone; `bgra` would copy it.
        self._raw = shot.raw
        pixels = np.frombuffer(self._raw, np.uint8).reshape(self._shape)
        frame = Frame(pixels, self._index, grab_ns, time.perf_counter_ns(), self._origin)
        self._index += 1
        return frame

    def close(self) -> None:
        """Give the screen back."""
        if self._mss is not None:
            self._mss.close()


def region(settings: Settings, monitors: list[dict[str, Any]]) -> dict[str, int]:
    """Return the region as left, top, width, height in pixels of the whole screen.

    :param monitors: as mss lists them: all as one picture, then one by one.
    :raises UserError: no such monitor or window, or the region does not lie within the screen.
    """
    if settings.monitor >= len(monitors):
        raise UserError(f"monitor {settings.monitor} does not exist; there are 1 to {len(monitors) - 1}")
    within = {key: int(monitors[settings.monitor][key]) for key in ("left", "top", "width", "height")}
    screen = monitors[0]
    if settings.window is not None:
        within = find_window(settings.window)
    else:
        screen = within
    width, height = settings.width or within["width"], settings.height or within["height"]
    left = within["left"] + ((within["width"] - width) // 2 if settings.left is None else settings.left)
    top = within["top"] + ((within["height"] - height) // 2 if settings.top is None else settings.top)
    inside = (
        screen["left"] <= left
        and screen["top"] <= top
        and left + width <= screen["left"] + screen["width"]
        and top + height <= screen["top"] + screen["height"]
    )
    if not inside:
        raise UserError(
            f"the region {width}x{height} at ({left}, {top}) lies outside the screen, which is "
            f"{screen['width']}x{screen['height']} at ({screen['left']}, {screen['top']}); "
            "make the capture's width, height, left or top smaller"
        )
    return {"left": left, "top": top, "width": width, "height": height}


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `mss`."""
    return CaptureFactory("mss", MssCapture, Settings, "a region of the screen, by mss")
