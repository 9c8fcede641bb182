"""Capture `portal`: what the user of a Wayland desktop picks, a window or a monitor, by the package pipewire-capture.

Not executed on a Wayland desktop by those who develop this; a test holds the calls below to the package's own names.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.context import Context
from agent.factories import CaptureFactory
from agent.hookspecs import hookimpl
from core.command import missing
from core.errors import UserError, summary
from plugins.capture.region import Rect, RegionSettings, ScreenCapture

FIRST_S = 5.0
"""A stream's first picture comes within this."""


class PortalGrabber:
    """Asks the desktop for a window or monitor, and reads its stream.

    :raises UserError: there is no portal, or the user picked nothing.
    """

    def __init__(self) -> None:
        if not sys.platform.startswith("linux"):
            raise UserError("the capture portal is Linux' own; use mss")
        try:
            import pipewire_capture
        except ImportError as error:
            raise missing("the capture portal", "pipewire-capture", "portal", error) from error
        if not pipewire_capture.is_available():
            raise UserError(
                "this desktop has no portal for screen casts (xdg-desktop-portal, PipeWire); use mss on X11"
            )
        try:
            self._session = pipewire_capture.PortalCapture().select_window()
        except RuntimeError as error:
            raise UserError(f"the desktop's portal refused: {summary(error)}") from error
        if self._session is None:
            raise UserError("no window was picked in the desktop's dialog")
        session = self._session
        self._stream: Any = pipewire_capture.CaptureStream(
            session.fd, session.node_id, session.width, session.height, capture_interval=0.0
        )
        self._stream.start()
        self.size = self._first()

    def grab(self, region: Rect, new_only: bool) -> NDArray[np.uint8] | None:
        """Return the region's pixels as the stream has them; None before the first.

        :raises UserError: the window was closed, or the stream broke.
        """
        if self._stream.window_invalid:
            raise UserError(f"what was captured is gone: {self._stream.error or 'its window was closed'}")
        picture = self._stream.get_frame()
        if picture is None:
            return None
        left, top = region["left"], region["top"]
        part: NDArray[np.uint8] = picture[top : top + region["height"], left : left + region["width"]]
        if part.shape[:2] != (region["height"], region["width"]):
            raise UserError(
                f"what is captured is {picture.shape[1]}x{picture.shape[0]} now, too small for {dict(region)}"
            )
        return np.ascontiguousarray(part)

    def close(self) -> None:
        """End the stream and the session."""
        self._stream.stop()
        self._session.close()

    def _first(self) -> tuple[int, int]:
        end = time.monotonic() + FIRST_S
        while time.monotonic() < end:
            picture = self._stream.get_frame()
            if picture is not None:
                return int(picture.shape[1]), int(picture.shape[0])
            time.sleep(0.02)
        self.close()
        raise UserError(f"the desktop's stream gave no picture within {FIRST_S:g} s")


def portal_capture(settings: RegionSettings, context: Context) -> ScreenCapture:
    """Return the capture, once the user has picked what to watch.

    :raises UserError: there is no portal, nothing was picked, or the region lies outside it.
    """
    if settings.window is not None:
        raise UserError("the capture portal takes no window: the desktop's own dialog asks for it")
    grabber = PortalGrabber()
    width, height = grabber.size
    whole = {"left": 0, "top": 0, "width": width, "height": height}
    try:
        return ScreenCapture(settings, [whole, whole], grabber, False, context.buffers)
    except UserError:
        grabber.close()
        raise


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `portal`."""
    return CaptureFactory(
        "portal", portal_capture, RegionSettings, "Wayland: what its user picks in the desktop's dialog, by PipeWire"
    )
