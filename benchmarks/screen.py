"""A screen that shows pictures in turn, for benchmarks that look at one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

WINDOW = (1280, 720)


class Screen:
    """A window that fills the display and shows one picture after the other."""

    def __init__(self, pictures: Sequence[Path]) -> None:
        from Xlib import X, display

        self._display = display.Display()
        root = self._display.screen().root
        self._window = root.create_window(0, 0, *WINDOW, 0, self._display.screen().root_depth, override_redirect=True)
        self._window.map()
        self._context = self._window.create_gc()
        self._format = X.ZPixmap
        read = [cv2.imread(str(path), cv2.IMREAD_COLOR) for path in pictures]
        self._pictures = [cv2.resize(p, WINDOW) for p in read if p is not None]

    def show(self, index: int) -> None:
        """Put a picture on the screen, in strips that fit a request."""
        picture = self._pictures[index % len(self._pictures)]
        bgra = np.dstack((picture, np.zeros(picture.shape[:2], np.uint8)))
        for top in range(0, WINDOW[1], 40):
            strip = bgra[top : top + 40].tobytes()
            self._window.put_image(self._context, 0, top, WINDOW[0], 40, self._format, 24, 0, strip)
        self._display.sync()
