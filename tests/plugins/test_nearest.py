import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.types import Detections
from core.errors import UserError
from plugins.selection.nearest import NearestSelection, Settings
from tests.agent.fakes import context, detections, frame

NAMES = ("body", "head", "tree")


def select(found: Detections, crosshair=(0.5, 0.5), **settings: object):
    selection = NearestSelection(Settings(**settings), context(names=NAMES, crosshair=crosshair))
    return selection.select(found, frame(width=100, height=100))


def test_the_nearest_to_the_crosshair() -> None:
    found = detections((0, 0, 10, 10), (45, 45, 65, 65), (80, 80, 90, 90))
    target = select(found)
    assert target.box == (45, 45, 65, 65)
    assert (target.aim_x, target.aim_y, target.error_x, target.error_y) == (55, 55, 5, 5)
    assert select(found, crosshair=(0.0, 0.0)).box == (0, 0, 10, 10)


def test_the_aim_point_is_a_part_of_the_box() -> None:
    target = select(detections((20, 20, 40, 60)), aim_point=(0.5, 0.1))
    assert (target.aim_x, target.aim_y) == (30, 24)


def test_class_priority_beats_distance_and_other_classes_are_left_out() -> None:
    found = detections((45, 45, 55, 55), (0, 0, 10, 10), (48, 48, 52, 52), classes=[0, 1, 2])
    assert select(found, classes=("head", "body")).class_id == 1
    assert select(found, classes=("body",)).class_id == 0
    assert select(detections((0, 0, 9, 9), classes=[2]), classes=("head",)) is None


def test_confidence_and_field_of_view_are_limits() -> None:
    found = detections((45, 45, 55, 55), (60, 45, 70, 55))  # 0.9, then 0.5
    assert select(found, min_confidence=0.95) is None
    assert select(detections((90, 45, 100, 55)), fov_px=44) is None
    assert select(detections((90, 45, 100, 55)), fov_px=45) is not None


def test_nothing_gives_nothing() -> None:
    assert select(Detections.empty()) is None


def test_a_class_that_is_not_known() -> None:
    with pytest.raises(UserError, match='knows no class "heads"; did you mean "head"'):
        select(Detections.empty(), classes=("heads",))


boxes = st.lists(st.tuples(*[st.floats(0, 100, width=32)] * 4), max_size=12)


@given(boxes, st.data())
def test_no_detection_that_counts_is_nearer(corners: list, data: st.DataObject) -> None:
    n = len(corners)
    array = np.array(corners, np.float32).reshape(n, 4)
    array = np.concatenate((np.minimum(array[:, :2], array[:, 2:]), np.maximum(array[:, :2], array[:, 2:])), 1)
    classes = np.array(data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)), np.int32)
    confidence = np.array(data.draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n)), np.float32)
    target = select(Detections(array, confidence, classes), classes=("head", "body"), min_confidence=0.25, fov_px=40)
    counted = []
    for box, score, class_id in zip(array.tolist(), confidence.tolist(), classes.tolist(), strict=True):
        # The middle as the selection has it, to the last bit: (left + right) / 2 may round otherwise.
        left, top, right, bottom = box
        distance = math.hypot(left + 0.5 * (right - left) - 50, top + 0.5 * (bottom - top) - 50)
        if score >= 0.25 and class_id < 2 and distance <= 40 - 1e-6:
            counted.append((class_id != 1, distance))
    if target is None:
        assert not counted
    elif counted:
        assert (target.class_id != 1, math.hypot(target.error_x, target.error_y)) <= min(counted)
