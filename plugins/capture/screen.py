"""Capture `screen`: a region of the screen by the fastest way that works here."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable

from agent.context import Context
from agent.factories import CaptureFactory
from agent.hookspecs import hookimpl
from core.errors import UserError
from plugins.capture.dxgi import DxgiGrabber
from plugins.capture.mss import MssGrabber, monitors
from plugins.capture.region import Grabber, Rect, RegionSettings, ScreenCapture, check_by_making, region
from plugins.capture.wgc import WgcGrabber
from plugins.desktop.windows import find_window

FIRST_S = 1.0
"""A capture that works gives its first picture within this."""

log = logging.getLogger("reticle")


def screen_capture(settings: RegionSettings, context: Context) -> ScreenCapture:
    """Return the first capture that gives a picture: on Windows of dxgi, wgc and mss, elsewhere mss.

    dxgi copies the region alone off the card, wgc all of the monitor, mss goes through the desktop's bitmap.

    :raises UserError: none does, or there is no such monitor or window.
    """
    screens = monitors()
    place = None if settings.window is None else find_window(settings.window)
    wanted = region(settings, screens, place)
    ways: dict[str, Callable[[], Grabber]] = {"mss": MssGrabber}
    if sys.platform == "win32":
        ways = {"dxgi": DxgiGrabber, "wgc": lambda: WgcGrabber(screens), **ways}
    refusals = []
    for name, make in ways.items():
        try:
            _try(make, wanted)
        except UserError as error:
            refusals.append(f"{name}: {error}")
            continue
        passed_over = f" ({'; '.join(refusals)})" if refusals else ""
        log.info("capture: %s%s", name, passed_over)
        return ScreenCapture(settings, screens, make(), name != "mss", context.buffers)
    raise UserError(f"no capture works here: {'; '.join(refusals)}")


def _try(make: Callable[[], Grabber], wanted: Rect) -> None:
    with contextlib.closing(make()) as grabber:
        end = time.monotonic() + FIRST_S
        while grabber.grab(wanted, False) is None:
            if time.monotonic() > end:
                raise UserError(f"it gave no picture within {FIRST_S:g} s")


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `screen`."""
    return CaptureFactory(
        "screen",
        screen_capture,
        RegionSettings,
        "a region of the screen, by the fastest way that works",
        check=check_by_making(screen_capture),
    )
