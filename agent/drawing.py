"""Drawing detections, the target and the crosshair on a picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.types import Detections, Target

_WHITE, _BLACK, _RED = (255, 255, 255), (0, 0, 0), (60, 60, 255)


def draw_detections(picture: NDArray[np.uint8], detections: Detections, names: Sequence[str]) -> None:
    """Draw each box with its class and confidence, in place.

    :param picture: uint8 (height, width, 3), BGR, contiguous.
    """
    scale = max(0.4, min(picture.shape[:2]) / 1000)
    thick = max(1, round(2 * scale))
    # The best comes first in `detections` and is drawn last, so that its label is the one to be read.
    for i in reversed(range(len(detections))):
        box, confidence, class_id = detections.xyxy[i], detections.confidence[i], detections.class_id[i]
        color = class_color(int(class_id))
        left, top, right, bottom = (round(float(v)) for v in box)
        cv2.rectangle(picture, (left, top), (right, bottom), color, thick)
        text = f"{names[class_id]} {confidence:.2f}"
        (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        y = top if top - height - base >= 0 else top + height + base
        cv2.rectangle(picture, (left, y - height - base), (left + width, y), color, cv2.FILLED)
        luminance = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2]
        ink: Any = _BLACK if luminance > 128 else _WHITE
        cv2.putText(picture, text, (left, y - base), cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick, cv2.LINE_AA)


def draw_aim(picture: NDArray[np.uint8], target: Target | None, crosshair: tuple[float, float]) -> None:
    """Draw the crosshair, and from it a line to the target's aim point, in place."""
    x, y = round(crosshair[0] * picture.shape[1]), round(crosshair[1] * picture.shape[0])
    cv2.drawMarker(picture, (x, y), _WHITE, cv2.MARKER_CROSS, 16, 1)
    if target is not None:
        aim = (round(target.aim_x), round(target.aim_y))
        cv2.line(picture, (x, y), aim, _RED, 1, cv2.LINE_AA)
        cv2.circle(picture, aim, 4, _RED, 1, cv2.LINE_AA)


def class_color(class_id: int) -> tuple[int, int, int]:
    """Return the class's colour, BGR: hues a golden section apart, so that near numbers look unlike."""
    red, green, blue = colorsys.hsv_to_rgb(class_id * 0.618034 % 1.0, 0.85, 0.95)
    return round(blue * 255), round(green * 255), round(red * 255)
