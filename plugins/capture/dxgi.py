"""Capture `dxgi`: a region of the screen by Windows' desktop duplication, through the package dxcam.

Not executed on a Windows that has desktop duplication by those who develop this; a test holds the calls below to
dxcam's own signatures.
"""

from __future__ import annotations

import os
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

OUTPUTS = 16
"""More monitors than a graphics card has."""


class DxgiGrabber:
    """Grabs by desktop duplication: only what is new is copied off the card.

    :raises UserError: this is not Windows, or the package is not installed.
    """

    def __init__(self) -> None:
        if os.name != "nt":
            raise UserError("the capture dxgi is Windows' own; use mss")
        try:
            import dxcam
        except ImportError as error:
            raise missing("the capture dxgi", "dxcam", "dxgi", error) from error
        except Exception as error:  # it looks for graphics cards when it is imported
            raise UserError(f"the capture dxgi finds no graphics card ({summary(error)}); use mss") from error
        self._dxcam = dxcam
        self._camera: Any = None
        self._output: Rect = {}
        self._last: NDArray[np.uint8] | None = None
        self._last_region: Rect = {}

    def grab(self, region: Rect, new_only: bool) -> NDArray[np.uint8] | None:
        """Return the region's pixels; None where Windows has drawn nothing since the last call.

        :raises UserError: the region is on no monitor alone, or Windows refused.
        """
        try:
            if self._camera is None or not contains(self._output, region):
                self._open(region)
            left, top = region["left"] - self._output["left"], region["top"] - self._output["top"]
            box = (left, top, left + region["width"], top + region["height"])
            pixels: NDArray[np.uint8] | None = self._camera.grab(region=box, copy=True, new_frame_only=True)
        except UserError:
            raise
        except Exception as error:  # comtypes', ctypes' and dxcam's own
            raise UserError(f"desktop duplication failed ({summary(error)}); use the capture mss") from error
        if pixels is not None:
            self._last, self._last_region = pixels, region
            return pixels
        return self._last if not new_only and region == self._last_region else None

    def close(self) -> None:
        """Give the screen back."""
        if self._camera is not None:
            self._camera.release()
            self._camera = None

    def _open(self, region: Rect) -> None:
        """Take the monitor that the region lies on."""
        self.close()
        for index in range(OUTPUTS):
            try:
                camera = self._dxcam.create(output_idx=index, output_color="BGRA", processor_backend="numpy")
            except IndexError:  # there are no more
                break
            # dxcam does not say in public where on the desktop an output is.
            at = camera._output.desc.DesktopCoordinates
            output = {"left": at.left, "top": at.top, "width": at.right - at.left, "height": at.bottom - at.top}
            if contains(output, region):
                self._camera, self._output = camera, output
                return
            camera.release()
        raise UserError(
            f"the region {dict(region)} lies on no single monitor of the first graphics card, as desktop duplication "
            "needs; use the capture mss"
        )


def dxgi_capture(settings: RegionSettings, context: Context) -> ScreenCapture:
    """Return the capture.

    :raises UserError: desktop duplication cannot be had, or there is no such monitor or window.
    """
    return ScreenCapture(settings, monitors(), DxgiGrabber(), True, context.buffers)


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `dxgi`."""
    return CaptureFactory(
        "dxgi",
        dxgi_capture,
        RegionSettings,
        "Windows: a region of the screen, by desktop duplication",
        check=check_by_making(dxgi_capture),
    )
