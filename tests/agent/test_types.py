import numpy as np
import pytest

from agent.types import IDLE, Action, Detections
from tests.agent.fakes import detections


@pytest.mark.parametrize(
    ("xyxy", "confidence", "class_id", "says"),
    [
        (np.zeros((2, 4)), np.zeros(2, np.float32), np.zeros(2, np.int32), "xyxy: expected float32 .* got float64"),
        (
            np.zeros((2, 5), np.float32),
            np.zeros(2, np.float32),
            np.zeros(2, np.int32),
            r"expected .*\(2, 4\).*\(2, 5\)",
        ),
        (np.zeros((2, 4), np.float32), np.zeros(3, np.float32), np.zeros(2, np.int32), "confidence: expected"),
        (np.zeros((2, 4), np.float32), np.zeros(2, np.float32), np.zeros(2, np.int64), "class_id: expected int32"),
    ],
)
def test_detections_say_what_is_wrong_with_them(xyxy, confidence, class_id, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Detections(xyxy, confidence, class_id)


def test_detections_count() -> None:
    assert len(detections((0, 0, 1, 1), (2, 2, 3, 3))) == 2
    assert len(Detections.empty()) == 0
    assert Detections.empty() is Detections.empty()


def test_idle_is_nothing_at_all() -> None:
    assert IDLE.idle
    assert not any(action.idle for action in (Action(1), Action(0, -1), Action(buttons=1), Action(point=(0, 0))))
