"""Geometry that several rooms share: where a picture lies in a network's input, and how much boxes overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Resize = Literal["letterbox", "stretch"]
"""`letterbox` keeps a picture's proportions and pads the rest; `stretch` fills the input."""
GREY = 127
"""What Darknet fills a letterbox with, 0.5 of 255."""


@dataclass(frozen=True)
class Fit:
    """How a picture is fitted into a network's input.

    :param pad: the grey value that a letterbox leaves free, 0 to 255.
    :param corner: a letterbox puts the picture at the top left, its sides cut to whole pixels, as YOLOX does; else in
        the middle, its sides rounded.
    """

    resize: Resize = "letterbox"
    pad: int = GREY
    corner: bool = False


LETTERBOX, STRETCH = Fit("letterbox"), Fit("stretch")


@dataclass(frozen=True)
class Placement:
    """The rectangle that a picture takes within a network's input, pixels."""

    left: int
    top: int
    width: int
    height: int


def place(source: tuple[int, int], target: tuple[int, int], fit: Fit) -> Placement:
    """Return where a picture of size `source` (width, height) lies in an input of size `target`."""
    if fit.resize == "stretch":
        return Placement(0, 0, *target)
    scale = min(target[0] / source[0], target[1] / source[1])
    if fit.corner:
        return Placement(0, 0, max(1, int(source[0] * scale)), max(1, int(source[1] * scale)))
    width, height = max(1, round(source[0] * scale)), max(1, round(source[1] * scale))
    return Placement((target[0] - width) // 2, (target[1] - height) // 2, width, height)


def iou(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return the intersection over union of each of `a` (n, 4) with each of `b` (m, 4), both xyxy: (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.prod(np.clip(high - low, 0, None), axis=2)
    size_a, size_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b))
    return inside / np.maximum(size_a[:, None] + size_b[None] - inside, 1e-9)
