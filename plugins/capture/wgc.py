"""Capture `wgc`: a region of the screen by Windows.Graphics.Capture, through the package windows-capture.

Not executed on a Windows that has it by those who develop this; a test holds the calls below to the package's own
signatures.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.context import Context
from agent.factories import CaptureFactory
from agent.hookspecs import hookimpl
from core.command import missing
from core.errors import UserError, summary
from plugins.capture.mss import monitors
from plugins.capture.region import Rect, RegionSettings, ScreenCapture, check_by_making, contains

WAIT_S = 0.01


class WgcGrabber:
    """Gets every picture that Windows draws of a monitor, and gives the region of the newest.

    :raises UserError: this is not Windows, or the package is not installed.
    """

    def __init__(self, screens: list[Rect]) -> None:
        if os.name != "nt":
            raise UserError("the capture wgc is Windows' own; use mss")
        try:
            import windows_capture
        except ImportError as error:
            raise missing("the capture wgc", "windows-capture", "wgc", error) from error
        self._make = windows_capture.WindowsCapture
        self._screens = screens
        self._index = 0
        self._control: Any = None
        self._arrival = threading.Condition()
        self._newest: NDArray[np.uint8] | None = None
        self._arrived = self._taken = 0
        self._closed = False

    def grab(self, region: Rect, new_only: bool) -> NDArray[np.uint8] | None:
        """Return the region's pixels; None where Windows has drawn nothing since the last call.

        :raises UserError: the region is on no monitor alone, Windows refused, or the monitor went away.
        """
        if self._index == 0 or not contains(self._screens[self._index], region):
            self._open(region)
        with self._arrival:
            if self._arrived == self._taken:
                self._arrival.wait(WAIT_S)
            if self._closed:
                raise UserError("the monitor that was captured went away")
            if self._newest is None or (new_only and self._arrived == self._taken):
                return None
            self._taken = self._arrived
            picture = self._newest
        screen = self._screens[self._index]
        left, top = region["left"] - screen["left"], region["top"] - screen["top"]
        part = picture[top : top + region["height"], left : left + region["width"]]
        # A copy, of the region alone: the picture is the card's memory, and is given back with its last reference.
        return np.ascontiguousarray(part)

    def close(self) -> None:
        """Give the screen back."""
        if self._control is not None:
            self._control.stop()
            self._control = None

    def _open(self, region: Rect) -> None:
        """Take the monitor that the region lies on; both packages number them as Windows does, from 1."""
        self.close()
        self._newest = None
        self._index = next((i for i, screen in enumerate(self._screens) if i and contains(screen, region)), 0)
        if not self._index:
            raise UserError(f"the region {dict(region)} lies on no single monitor, as the capture wgc needs; use mss")
        refused: Exception | None = None
        # The border around what is captured can be left out from Windows 11 on.
        for border in (False, None):
            try:
                capture = self._make(cursor_capture=False, draw_border=border, monitor_index=self._index)
                capture.frame_handler = self._frame
                capture.closed_handler = self._gone
                self._control = capture.start_free_threaded()
                return
            except Exception as error:  # the package's are plain exceptions
                refused = error
        assert refused is not None
        raise UserError(f"Windows.Graphics.Capture failed ({summary(refused)}); use the capture mss") from refused

    def _frame(self, frame: Any, control: Any) -> None:
        with self._arrival:
            self._newest = frame.frame_buffer
            self._arrived += 1
            self._arrival.notify()

    def _gone(self) -> None:
        with self._arrival:
            self._closed = True
            self._arrival.notify()


def wgc_capture(settings: RegionSettings, context: Context) -> ScreenCapture:
    """Return the capture.

    :raises UserError: Windows.Graphics.Capture cannot be had, or there is no such monitor or window.
    """
    screens = monitors()
    return ScreenCapture(settings, screens, WgcGrabber(screens), True, context.buffers)


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `wgc`."""
    return CaptureFactory(
        "wgc",
        wgc_capture,
        RegionSettings,
        "Windows: a region of the screen, by Windows.Graphics.Capture",
        check=check_by_making(wgc_capture),
    )
