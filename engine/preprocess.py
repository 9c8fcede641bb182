"""From a frame to the network's input, in place: resize, BGR to RGB, 0 to 1, the engine's layout."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.geometry import Fit, Placement, place

_SCALE = np.float32(1 / 255)
_BGR_TO_RGB = (2, 0, 1, 1, 0, 2)


Mapping = tuple[NDArray[np.float32], ...]
"""From the network's input to the frame: what is taken off, the scale, the limit; each (4,)."""


def mapping(placed: Placement, width: int, height: int) -> Mapping:
    """Return how boxes get back to a frame of this size that was placed so."""
    pairs = (placed.left, placed.top), (width / placed.width, height / placed.height), (width, height)
    return tuple(np.array(pair * 2, np.float32) for pair in pairs)


def mapped(boxes: NDArray[np.float32], to_frame: Mapping) -> NDArray[np.float32]:
    """Return boxes (n, 4) xyxy in pixels of the frame, cut at its edges."""
    shift, scale, limit = to_frame
    boxes = boxes - shift
    boxes *= scale
    np.maximum(boxes, 0, out=boxes)
    return np.minimum(boxes, limit, out=boxes)


class Preprocessor:
    """Writes frames into an engine's input, and maps boxes back.

    :param target: the engine's input: float32 (1, height, width, 3) or (1, 3, height, width), RGB, 0 to 1; or
        uint8 (1, height, width, 3), BGR, where the graph does the rest.
    """

    def __init__(self, target: NDArray[Any], layout: str, fit: Fit) -> None:
        self._target = target[0]
        self.run = self._run_bytes if target.dtype == np.uint8 else self._run
        """Write one frame, uint8 (height, width, 3) BGR or (height, width, 4) BGRA, into the input."""
        planar = layout == "NCHW"
        self._height, self._width = target.shape[2:4] if planar else target.shape[1:3]
        self._fit = fit
        # OpenCV's mixChannels reorders several times as fast as numpy's strides, and drops alpha on the way.
        self._rgb = np.zeros(self._target.shape, np.uint8)
        self._mixed = list(self._rgb) if planar else [self._rgb]
        self._source: tuple[int, ...] = ()
        self._canvas = np.zeros((self._height, self._width, 3), np.uint8)
        self._dropped = self._canvas
        self._placed = Placement(0, 0, self._width, self._height)
        self._to_frame: Mapping = ()

    def _run(self, pixels: NDArray[np.uint8]) -> None:
        if pixels.shape != self._source:
            self._plan(pixels.shape)
        if pixels.shape[:2] != (self._height, self._width):
            self._resize_into(self._canvas, pixels)
            pixels = self._canvas
        cv2.mixChannels([pixels], self._mixed, _BGR_TO_RGB)
        np.multiply(self._rgb, _SCALE, out=self._target)

    def _run_bytes(self, pixels: NDArray[np.uint8]) -> None:
        if pixels.shape != self._source:
            self._plan(pixels.shape)
        target = self._target
        same = pixels.shape[:2] == (self._height, self._width)
        if pixels.shape[2] == 4:  # before the resize, which then has less to do
            # cvtColor does this in an eighth of mixChannels' time.
            cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR, dst=target if same else self._dropped)
            if same:
                return
            pixels = self._dropped
        if same:
            np.copyto(target, pixels)
        else:
            self._resize_into(target, pixels)

    def _resize_into(self, canvas: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> None:
        p = self._placed
        inside = canvas[p.top : p.top + p.height, p.left : p.left + p.width]
        cv2.resize(pixels, (p.width, p.height), dst=inside, interpolation=cv2.INTER_LINEAR)

    def to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return boxes in pixels of the frame last written, cut at its edges.

        :param boxes: (n, 4) xyxy in pixels of the network's input.
        """
        return mapped(boxes, self._to_frame)

    def _plan(self, shape: tuple[int, ...]) -> None:
        self._source = shape
        height, width = shape[:2]
        placed = place((width, height), (self._width, self._height), self._fit)
        self._placed = placed
        self._to_frame = mapping(placed, width, height)
        self._canvas = np.full((self._height, self._width, shape[2]), self._fit.pad, np.uint8)
        self._dropped = np.empty((height, width, 3), np.uint8)
        if self._target.dtype == np.uint8:
            self._target[...] = self._fit.pad  # what a letterbox leaves free
