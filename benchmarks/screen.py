"""A screen that shows pictures in turn, for benchmarks that look at one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WINDOW = (1280, 720)
ROWS = 40


class Screen:
    """A window in the middle of the display, which shows one picture after the other.

    :param size: its width and height, pixels.
    """

    def __init__(self, pictures: Sequence[Path], size: tuple[int, int] = WINDOW) -> None:
        from Xlib import X, display

        self._display = display.Display()
        screen = self._display.screen()
        self._width, height = size
        corner = ((screen.width_in_pixels - self._width) // 2, (screen.height_in_pixels - height) // 2)
        self._window = screen.root.create_window(*corner, *size, 0, screen.root_depth, override_redirect=True)
        self._window.map()
        self._context = self._window.create_gc()
        self._format = X.ZPixmap
        # Made ready here, so that showing them takes as little as it can from what is measured beside it.
        read = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in pictures]
        self._pictures = [_strips(cv2.resize(p, size)) for p in read if p is not None]

    def show(self, index: int) -> None:
        """Put a picture on the screen."""
        for top, strip in self._pictures[index % len(self._pictures)]:
            rows = len(strip) // (4 * self._width)
            self._window.put_image(self._context, 0, top, self._width, rows, self._format, 24, 0, strip)
        self._display.sync()


def _strips(picture: NDArray[Any]) -> list[tuple[int, bytes]]:
    """Return a picture in parts that fit a request: the first row of each, and its pixels."""
    bgra = np.dstack((picture, np.zeros(picture.shape[:2], np.uint8)))
    return [(top, bgra[top : top + ROWS].tobytes()) for top in range(0, len(bgra), ROWS)]
