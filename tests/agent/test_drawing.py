"""What is drawn on a frame, and that the frame itself stays as it was."""

import numpy as np
import pytest

from agent.drawing import STRIP_FRAMES, Canvas, class_color, draw_aim, draw_detections
from agent.types import IDLE, Detections, Frame, FrameEvent, Target


def found(*boxes: tuple[float, ...]) -> Detections:
    n = len(boxes)
    return Detections(np.array(boxes, np.float32).reshape(n, 4), np.full(n, 0.5, np.float32), np.zeros(n, np.int32))


def event(pixels: np.ndarray, detections: Detections, target: Target | None = None) -> FrameEvent:
    frame = Frame(pixels, 0, 1, 2, acted_ns=3_000_001)
    return FrameEvent(frame, detections, target, IDLE, False, False, None, frame.pixels)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_canvas_draws_on_a_copy(channels: int) -> None:
    pixels = np.full((120, 160, channels), 90, np.uint8)
    before = pixels.copy()
    drawn = Canvas(("a",), (0.5, 0.5)).drawn(event(pixels, found((20, 40, 60, 80))))
    assert drawn.shape == (120, 160, 3)
    assert np.array_equal(pixels, before)
    assert tuple(drawn[60, 20]) == class_color(0)
    assert tuple(drawn[60, 80]) == (255, 255, 255), "the crosshair"


def test_labels_of_boxes_at_one_place_hide_none_of_each_other() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    draw_detections(picture, found((50, 80, 150, 160), (50, 80, 150, 160)), ("player",))
    filled = np.all(picture == class_color(0), axis=2)[:, 60:90].sum(axis=1) > 15
    bands = np.flatnonzero(np.diff(np.concatenate(([0], filled.astype(int), [0]))) == 1)
    assert len(bands) >= 2, "two labels, one below the other or inside"


def test_boxes_beyond_the_picture_and_the_aim_are_drawn_without_an_error() -> None:
    picture = np.zeros((60, 80, 3), np.uint8)
    draw_detections(picture, found((-500, -500, 5000, 5000), (70, 50, 79, 59)), ("x",))
    target = Target((0, 0, 10, 10), 0, 0.5, 5, 5, -35, -25)
    draw_aim(picture, target, (0.5, 0.5))
    assert picture[5, 9].any(), "a circle around the aim point"


def test_the_strip_holds_the_last_latencies() -> None:
    canvas = Canvas(("a",), (0.5, 0.5))
    for _ in range(STRIP_FRAMES + 5):
        drawn = canvas.drawn(event(np.zeros((120, 160, 3), np.uint8), Detections.empty()))
    assert drawn[116 - 5, 4 : 4 + STRIP_FRAMES].all(), "a column for each of the last frames"


def test_neighbouring_classes_have_colours_apart() -> None:
    colors = np.array([class_color(i) for i in range(8)], int)
    for i in range(7):
        assert np.abs(colors[i] - colors[i + 1]).max() > 60
