"""Drawing detections, the target and the crosshair on a picture."""

from __future__ import annotations

import colorsys
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.types import Detections, FrameEvent, Target

STRIP_FRAMES, STRIP_PX = 120, 30
"""The strip's width, a column a frame, and its height."""

_WHITE, _BLACK, _RED = (255, 255, 255), (0, 0, 0), (60, 60, 255)


class Canvas:
    """Draws frames with all that was seen and decided, and a strip of the last latencies.

    :param names: the detector's.
    :param crosshair: fractions of width and height.
    """

    def __init__(self, names: Sequence[str], crosshair: tuple[float, float]) -> None:
        self._names = names
        self._crosshair = crosshair
        self._latencies: deque[float] = deque(maxlen=STRIP_FRAMES)

    def drawn(self, event: FrameEvent) -> NDArray[np.uint8]:
        """Return a frame's picture, uint8 (height, width, 3) BGR; call it for the frames that are shown, in order."""
        assert event.pixels is not None
        picture = event.pixels[:, :, :3].copy()
        draw_detections(picture, event.detections, self._names)
        draw_aim(picture, event.target, self._crosshair)
        self._latencies.append((event.frame.acted_ns - event.frame.grab_ns) / 1e6)
        said = f"{self._latencies[-1]:.1f} ms"
        if event.target is not None:
            said += f", error {math.hypot(event.target.error_x, event.target.error_y):.0f} px"
        draw_strip(picture, list(self._latencies), said)
        return picture


def draw_strip(picture: NDArray[np.uint8], latencies_ms: Sequence[float], said: str) -> None:
    """Draw a column for each latency at the bottom left, twice the median high at the most, and a line of text."""
    height = picture.shape[0]
    if height < 3 * STRIP_PX:
        return
    scale = STRIP_PX / 2 / max(1e-6, float(np.median(latencies_ms)))
    base = height - 4
    for x, latency in enumerate(latencies_ms, 4):
        top = base - max(1, min(STRIP_PX, round(latency * scale)))
        cv2.line(picture, (x, base), (x, top), _WHITE if top > base - STRIP_PX else _RED, 1)
    cv2.putText(picture, said, (4, base - STRIP_PX - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _WHITE, 1, cv2.LINE_AA)


def draw_detections(picture: NDArray[np.uint8], detections: Detections, names: Sequence[str]) -> None:
    """Draw each box with its class and confidence, in place.

    :param picture: uint8 (height, width, 3), BGR, contiguous.
    """
    scale = max(0.4, min(picture.shape[:2]) / 1000)
    thick = max(1, round(2 * scale))
    taken: list[tuple[int, int, int, int]] = []
    for box, confidence, class_id in zip(
        detections.xyxy.tolist(), detections.confidence.tolist(), detections.class_id.tolist(), strict=True
    ):
        color = class_color(class_id)
        left, top, right, bottom = (round(v) for v in box)
        cv2.rectangle(picture, (left, top), (right, bottom), color, thick)
        text = f"{names[class_id]} {confidence:.2f}"
        (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        height += base
        label = _free_place(left, (top - height, top, bottom - height, bottom), width, height, picture.shape, taken)
        taken.append(label)
        cv2.rectangle(picture, label[:2], label[2:], color, cv2.FILLED)
        luminance = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2]
        ink: Any = _BLACK if luminance > 128 else _WHITE
        at = (label[0], label[3] - base)
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thick, cv2.LINE_AA)


def _free_place(
    left: int, tops: Sequence[int], width: int, height: int, shape: Sequence[int], taken: Sequence[tuple[int, ...]]
) -> tuple[int, int, int, int]:
    """Return where a label fits within the picture and hides no other, the first place of all where none does."""
    left = max(0, min(left, shape[1] - width))
    places = [(left, top, left + width, top + height) for top in tops if 0 <= top <= shape[0] - height]
    for place in places:
        if not any(place[0] < t[2] and t[0] < place[2] and place[1] < t[3] and t[1] < place[3] for t in taken):
            return place
    return places[0] if places else (left, 0, left + width, height)


def draw_aim(picture: NDArray[np.uint8], target: Target | None, crosshair: tuple[float, float]) -> None:
    """Draw the crosshair, and from it a line to the target's aim point, in place."""
    x, y = round(crosshair[0] * picture.shape[1]), round(crosshair[1] * picture.shape[0])
    cv2.drawMarker(picture, (x, y), _WHITE, cv2.MARKER_CROSS, 16, 1)
    if target is not None:
        aim = (round(target.aim_x), round(target.aim_y))
        cv2.line(picture, (x, y), aim, _RED, 1, cv2.LINE_AA)
        cv2.circle(picture, aim, 4, _RED, 1, cv2.LINE_AA)


def class_color(class_id: int) -> tuple[int, int, int]:
    """Return the class's colour, BGR: hues a golden section apart, in two strengths and two brightnesses."""
    strength, brightness = (0.9, 0.55)[class_id // 2 % 2], (0.95, 0.75)[class_id // 4 % 2]
    red, green, blue = colorsys.hsv_to_rgb(class_id * 0.618034 % 1.0, strength, brightness)
    return round(blue * 255), round(green * 255), round(red * 255)
