"""Capturing a region of the screen: where it lies, a window that it goes along with, its pace, black pictures.

What reads the pixels is a `Grabber`: `mss`, `dxgi`, `wgc` and `portal` have one each, a file apiece.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agent.context import Context
from agent.factories import PluginSettings
from agent.frame_buffers import FrameBuffers
from agent.types import Frame
from core.errors import UserError
from plugins.desktop.windows import FollowedWindow, Window, find_window
from plugins.pace import Pace

CHANGE_NS = 100_000_000
"""A picture that stays the same is given again after so long, so that the loop need not wait for ever."""
LOOK_NS = 1_000_000_000
"""How often a picture is looked at for being black; said when it is so twice in a row."""

Rect = Mapping[str, int]
"""`left`, `top`, `width`, `height`: pixels of the whole screen."""

log = logging.getLogger("reticle")


class RegionSettings(PluginSettings):
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
    max_fps: float | None = Field(
        240.0,
        gt=0,
        description="Grab no more frames a second than this; null grabs without a pause, which takes a core.",
    )


class Grabber(Protocol):
    """Reads pixels off the screen. Used by one thread, which need not be the one that made it."""

    def grab(self, region: Rect, new_only: bool) -> NDArray[np.uint8] | None:
        """Return the region's pixels, (height, width, 4) BGRA, the caller's own; waits some ten milliseconds at most.

        :param new_only: return None where nothing has changed since the last call.
        :raises UserError: the screen was lost.
        """

    def close(self) -> None:
        """Give the screen back."""


class ScreenCapture:
    """Grabs one region, always the same.

    :param monitors: all as one picture, then one by one.
    :param new_only: leave out frames in which nothing has changed.
    :param buffers: where pictures are put, if the detector wants them somewhere.
    :raises UserError: there is no such monitor or window, or the region lies outside it.
    """

    on_demand = True

    def __init__(
        self,
        settings: RegionSettings,
        monitors: Sequence[Rect],
        grabber: Grabber,
        new_only: bool,
        buffers: FrameBuffers,
    ) -> None:
        self._settings, self._monitors = settings, monitors
        self._grabber = grabber
        self._new_only = new_only
        self._buffers = buffers
        self._index = 0
        self._pace = Pace(int(1e9 / settings.max_fps) if settings.max_fps else 0)
        self._closed = False
        self._place: Window | None = None if settings.window is None else find_window(settings.window)
        self.region = region(settings, monitors, self._place)
        self._followed = None if self._place is None else FollowedWindow(self._place)
        self._look_ns = self._black = 0
        if self._place is not None:
            log.info("watching the window %r", self._place.title)

    def grab(self) -> Frame | None:
        """Return the region as it is now, BGRA; with `new_only`, once it has changed or CHANGE_NS have passed.

        The region goes with its window. While that is not to be seen this waits, so that nothing is decided on what
        shows in its place; once it is closed there are no more frames.

        :raises UserError: the screen went away.
        """
        until_ns = time.perf_counter_ns() + CHANGE_NS
        while True:
            self._pace.wait()
            if self._followed is not None and not self._go_along(self._followed):
                return None
            place = self.region
            grab_ns = time.perf_counter_ns()
            pixels = self._grabber.grab(place, self._new_only and grab_ns < until_ns)
            if pixels is not None:
                break
        buffer = self._buffers.take(pixels.shape)
        if buffer is not None:  # now, while the picture is in this core's cache
            np.copyto(buffer, pixels)
            pixels = buffer
        grabbed_ns = time.perf_counter_ns()
        if grabbed_ns > self._look_ns:
            self._look(pixels, grabbed_ns)
        frame = Frame(pixels, self._index, grab_ns, grabbed_ns, (place["left"], place["top"]))
        self._index += 1
        return frame

    def close(self) -> None:
        """Give the screen back."""
        self._closed = True
        if self._followed is not None:
            self._followed.close()
        self._grabber.close()

    def _look(self, pixels: NDArray[np.uint8], now_ns: int) -> None:
        self._look_ns = now_ns + LOOK_NS
        self._black = 0 if pixels[::8, ::8, :3].any() else self._black + 1
        if self._black == 2:
            log.warning(
                "what is captured is black: a game in exclusive fullscreen shows nothing to a capture (choose "
                "borderless window in its settings), and neither does a monitor that is off or a locked screen"
            )

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


def check_by_making(make: Callable[[Any, Context], ScreenCapture]) -> Callable[[Any, Context], None]:
    """Return a check that makes a capture, whose errors are those of a run, and closes it."""

    def check(settings: Any, context: Context) -> None:
        make(settings, context).close()

    return check


def region(settings: RegionSettings, monitors: Sequence[Rect], window: Window | None = None) -> dict[str, int]:
    """Return the region as left, top, width, height in pixels of the whole screen.

    :param monitors: all as one picture, then one by one.
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
    inside = contains(screen, {"left": left, "top": top, "width": width, "height": height})
    if not inside:
        raise UserError(
            f"the region {width}x{height} at ({left}, {top}) lies outside the screen, which is "
            f"{screen['width']}x{screen['height']} at ({screen['left']}, {screen['top']}); "
            "make the capture's width, height, left or top smaller"
        )
    return {"left": left, "top": top, "width": width, "height": height}


def contains(outer: Rect, inner: Rect) -> bool:
    """Tell whether a rectangle lies within another."""
    return all(
        outer[low] <= inner[low] and inner[low] + inner[side] <= outer[low] + outer[side]
        for low, side in (("left", "width"), ("top", "height"))
    )
