"""Capture `mss`: a region of the screen, BGRA as the window system gives it, without a copy.

All that touches the package mss is in this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agent.context import Context
from agent.factories import CaptureFactory
from agent.hookspecs import hookimpl
from core.errors import UserError
from plugins.capture.region import Rect, RegionSettings, ScreenCapture, check_by_making
from plugins.desktop.windows import aware_of_scaling


class Settings(RegionSettings):
    """Which part of the screen."""

    skip_duplicates: bool = Field(
        False,
        description="Leave out frames that are to the last bit the one before: a game draws fewer than are grabbed.",
    )


class MssGrabber:
    """Grabs by mss, which is opened by the thread that grabs: on Windows its handles belong to one thread."""

    def __init__(self) -> None:
        import mss

        self._error = mss.ScreenShotError
        self._make = mss.MSS
        self._mss: Any = None
        self._raw = bytearray()

    def grab(self, region: Rect, new_only: bool) -> NDArray[np.uint8] | None:
        """Return the region's pixels; with `new_only`, None where they are to the last bit the ones before.

        :raises UserError: the screen was lost.
        """
        try:
            if self._mss is None:
                self._mss = self._make()
            shot = self._mss.grab(region)
        except (self._error, OSError, AssertionError) as error:  # mss asserts that the server answers
            raise UserError(f"the screen was lost while grabbing {region}: {_line(error)}") from error
        # `raw` is a bytearray of this grab alone; `bgra` would copy it.
        raw = shot.raw
        if new_only and raw == self._raw:
            return None
        self._raw = raw
        return np.frombuffer(raw, np.uint8).reshape(region["height"], region["width"], 4)

    def close(self) -> None:
        """Give the screen back."""
        if self._mss is not None:
            self._mss.close()


def monitors() -> list[Rect]:
    """Return the monitors, all as one picture first.

    :raises UserError: there is no screen.
    """
    import mss

    aware_of_scaling()
    try:
        with mss.MSS() as screen:
            return [{key: int(each[key]) for key in ("left", "top", "width", "height")} for each in screen.monitors]
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


def mss_capture(settings: Settings, context: Context) -> ScreenCapture:
    """Return the capture.

    :raises UserError: there is no screen, no such monitor or window, or the region lies outside it.
    """
    return ScreenCapture(settings, monitors(), MssGrabber(), settings.skip_duplicates, context.buffers)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `mss`."""
    return CaptureFactory(
        "mss",
        mss_capture,
        Settings,
        "a region of the screen, by mss",
        check=check_by_making(mss_capture),
    )
