"""Detector `colour`: boxes around blobs of one colour. No network, and good enough for balloons."""

import cv2
import numpy as np
from pydantic import Field

from reticle import Context, Detections, DetectorFactory, Frame, PluginSettings, hookimpl


class Settings(PluginSettings):
    """What a profile can set."""

    bgr: tuple[int, int, int] = Field((40, 40, 220), description="The colour: blue, green, red, 0 to 255.")
    tolerance: int = Field(30, ge=0, le=255, description="How far each may be off.")
    min_area_px: int = Field(20, ge=1, description="Smaller blobs are left out, square pixels.")


class Colour:
    """Connected components of the pixels that are near a colour."""

    names = ("blob",)

    def __init__(self, settings: Settings, context: Context) -> None:
        colour = np.array(settings.bgr)
        self._low = np.clip(colour - settings.tolerance, 0, 255).astype(np.uint8)
        self._high = np.clip(colour + settings.tolerance, 0, 255).astype(np.uint8)
        self._min_area_px = settings.min_area_px

    def detect(self, frame: Frame) -> Detections:
        """Return a box for each blob, the largest first."""
        mask = cv2.inRange(frame.pixels[:, :, :3], self._low, self._high)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        rows = [s for s in stats[1:count].tolist() if s[cv2.CC_STAT_AREA] >= self._min_area_px]
        if not rows:
            return Detections.empty()
        rows.sort(key=lambda s: -s[cv2.CC_STAT_AREA])
        boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in rows], np.float32)
        return Detections(boxes, np.ones(len(rows), np.float32), np.zeros(len(rows), np.int32))


@hookimpl
def reticle_detector() -> DetectorFactory:
    """Offer `colour`."""
    return DetectorFactory("colour", Colour, Settings, "blobs of one colour")
