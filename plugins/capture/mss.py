"""Capture `mss`: a region of the screen, BGRA as the window system gives it, without a copy."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
from pydantic import Field

from agent.context import Context
from agent.factories import CaptureFactory, PluginSettings
from agent.hookspecs import hookimpl
from agent.types import Frame
from core.errors import UserError
from plugins.desktop.windows import FollowedWindow, Window, aware_of_scaling, find_window
from plugins.pace import Pace

CHANGE_NS = 100_000_000
"""A picture that stays the same is given again after so long, so that the loop need not wait for ever."""

log = logging.getLogger("reticle")


class Settings(PluginSettings):
    """Which part of the screen."""

    monitor: int = Field(1, ge=0, description="1 is the first monitor, 0 all of them as one picture.")
    window: str | None = Field(
        None,
        description="Count the region from the window whose title is or contains this; it goes along with it.",
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

        aware_of_scaling()
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
        self._settings, self._monitors = settings, monitors
        self._closed = False
        self._place: Window | None = None if settings.window is None else find_window(settings.window)
        self.region = region(settings, monitors, self._place)
        self._followed = None if self._place is None else FollowedWindow(self._place)
        if self._place is not None:
            log.info("watching the window %r", self._place.title)

    def grab(self) -> Frame | None:
        """Return the region as it is now, BGRA; with `skip_duplicates`, once it has changed or CHANGE_S have passed.

        The region goes with its window. While that is not to be seen this waits, so that nothing is decided on what
        shows in its place; once it is closed there are no more frames.

        :raises UserError: the screen went away.
        """
        until_ns = time.perf_counter_ns() + CHANGE_NS
        while True:
            self._pace.wait()
            if self._followed is not None and not self._go_along(self._followed):
                return None
            frame = self._grab()
            if not self._skip or frame.grab_ns > until_ns:
                return frame
            if self._raw != self._last:
                self._last = self._raw
                return frame

    def _go_along(self, followed: FollowedWindow) -> bool:
        """Put the region where the window is, waiting until it can be seen; return False once either is closed."""
        told = False
        while not self._closed:
            place = followed.place
            if followed.closed:
                log.warning("the window %r was closed", self._settings.window)
                return False
            if place is not None and place == self._place:
                return True
            try:
                if place is not None:
                    self.region = region(self._settings, self._monitors, place)
                    self._place = place
                    log.info("the window %r is at (%d, %d) now", place.title, place.left, place.top)
                    return True
                why = "is not to be seen"
            except UserError as error:  # a part of it is beyond the screen
                why = str(error)
            if not told:
                log.warning("the window %r: %s; nothing is done until it is back", self._settings.window, why)
                told = True
                self._place = None
            time.sleep(0.02)
        return False

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
        place = self.region
        pixels = np.frombuffer(self._raw, np.uint8).reshape(place["height"], place["width"], 4)
        frame = Frame(pixels, self._index, grab_ns, time.perf_counter_ns(), (place["left"], place["top"]))
        self._index += 1
        return frame

    def close(self) -> None:
        """Give the screen back."""
        self._closed = True
        if self._followed is not None:
            self._followed.close()
        if self._mss is not None:
            self._mss.close()


def region(settings: Settings, monitors: list[dict[str, Any]], window: Window | None = None) -> dict[str, int]:
    """Return the region as left, top, width, height in pixels of the whole screen.

    :param monitors: as mss lists them: all as one picture, then one by one.
    :param window: what it counts from where the settings name one.
    :raises UserError: no such monitor, or the region does not lie within the screen.
    """
    if settings.monitor >= len(monitors):
        raise UserError(f"monitor {settings.monitor} does not exist; there are 1 to {len(monitors) - 1}")
    within = {key: int(monitors[settings.monitor][key]) for key in ("left", "top", "width", "height")}
    screen = monitors[0]
    if window is not None:
        within = {"left": window.left, "top": window.top, "width": window.width, "height": window.height}
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


def check(settings: Settings, context: Context) -> None:
    """See that the screen, the monitor and the window are there.

    :raises UserError: one is not, or the region lies outside.
    """
    MssCapture(settings, context).close()


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `mss`."""
    return CaptureFactory("mss", MssCapture, Settings, "a region of the screen, by mss", check=check)
