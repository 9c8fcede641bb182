"""Looking at what is around the crosshair alone while something is there, which takes a part of the time.

What is aimed at comes to lie at the crosshair; what is elsewhere is looked at now and then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from agent.types import Detections, Frame

if TYPE_CHECKING:
    from plugins.detector.network import NetworkDetector

EDGE = 1 / 16
"""A box nearer to the crop's edge than this part of its side may be cut off by it, or gone in the next frame."""


class CenterCrop(BaseModel):
    """Which part of the picture around the crosshair, how large it is for the network, and for how long."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    part: float = Field(0.5, ge=0.1, le=0.9, description="How much of the picture's width and of its height.")
    size: int | tuple[int, int] = Field(
        description="The network's input for that, a side or width and height, pixels: the same part of its `size` "
        "shows things as large as there."
    )
    frames: int = Field(4, ge=1, le=1000, description="After so many frames in a row the whole picture is looked at.")


class CenterCropDetector:
    """Looks at a part after a frame with a box, of whatever class, that lies wholly in it, and otherwise at the whole.

    Which of the two depends on the frames alone, so that a replay decides the same. A box that the part's edge cuts off
    is as long as what is seen of it.

    :param middle: the network at the size for the part.
    :param crosshair: the part's middle, as parts of the frame's width and height; the part stays within the frame.
    """

    def __init__(
        self, whole: NetworkDetector, middle: NetworkDetector, crop: CenterCrop, crosshair: tuple[float, float]
    ) -> None:
        self.names = whole.names
        self._whole, self._middle, self._crop, self._crosshair = whole, middle, crop, crosshair
        self._shape: tuple[int, ...] = ()
        self._left = 0

    def begin(self, episode: int) -> None:
        """Look at the whole picture: a new episode begins."""
        self._left = 0

    def detect(self, frame: Frame) -> Detections:
        """Return the boxes in the frame or in the part, best first, in pixels of the frame."""
        pixels = frame.pixels
        if pixels.shape != self._shape:
            self._place(frame)
        if not self._left:
            found = self._whole.detect(frame)
            self._left = self._crop.frames if self._holds(found) else 0
            return found
        self._left -= 1
        frame.cropped = True
        found = self._middle.find(pixels[self._rows, self._columns], frame)
        if len(found):
            found = replace(found, xyxy=found.xyxy + self._corner)
        if not self._holds(found):
            self._left = 0
        return found

    def describe(self) -> Mapping[str, Any]:
        """Return what both networks are."""
        return self._whole.describe()

    def _holds(self, found: Detections) -> bool:
        """Tell whether a box lies wholly in the part."""
        first_x, first_y, last_x, last_y = self._inner
        return any(
            left >= first_x and top >= first_y and right <= last_x and bottom <= last_y
            for left, top, right, bottom in found.xyxy.tolist()
        )

    def _place(self, frame: Frame) -> None:
        self._shape, self._left = frame.pixels.shape, 0
        (left, right), (top, bottom) = (
            span(side, self._crop.part, at)
            for side, at in zip((frame.width, frame.height), self._crosshair, strict=True)
        )
        self._columns, self._rows = slice(left, right), slice(top, bottom)
        self._corner = np.array((left, top, left, top), np.float32)
        edge_x, edge_y = (right - left) * EDGE, (bottom - top) * EDGE
        self._inner = (left + edge_x, top + edge_y, right - edge_x, bottom - edge_y)


def span(side: int, part: float, at: float) -> tuple[int, int]:
    """Return where a part of a side begins and ends, pixels: around `at` (0 to 1), as far as the side goes.

    :param side: pixels.
    """
    length = max(1, round(side * part))
    first = min(max(0, round(side * at - length / 2)), side - length)
    return first, first + length
