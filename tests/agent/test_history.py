"""Where boxes are as the view turns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history import CommandHistory, View
from tests.agent.fakes import frame

FRAME = frame(0, 640, 480, at_ns=1000)
CROSSHAIR = (320.0, 250.0)
FOCAL = 320.0


def px(middle: float, degrees: float) -> float:
    return middle + FOCAL * np.tan(np.radians(degrees))


@given(
    left=st.floats(-40, 30),
    top=st.floats(-30, 20),
    width=st.floats(0.5, 10),
    height=st.floats(0.5, 10),
    turns=st.lists(st.tuples(st.floats(-30, 30), st.floats(-20, 20)), min_size=1, max_size=6),
)
def test_what_stands_still_is_steady_however_the_view_turns(left, top, width, height, turns) -> None:
    """Its angles from the view are less what the view turned; only where it is in the picture's plane at all."""
    history = CommandHistory()
    view = View(history, lambda width: width / 2)
    first = None
    for i, (x, y) in enumerate([(0.0, 0.0), *turns]):
        history.add(i + 1, x, y)
        at_x, at_y = history.view
        edges = (left - at_x, top - at_y, left + width - at_x, top + height - at_y)
        if max(map(abs, edges)) > 80:
            continue
        box = [px(CROSSHAIR[k % 2], edge) for k, edge in enumerate(edges)]
        (steady,) = view.steady(np.array([box], np.float32), FRAME, FRAME.at_ns, CROSSHAIR)
        first = first or steady
        assert steady == pytest.approx(first, abs=0.05)


def test_without_calibration_boxes_stay_as_they_are() -> None:
    view = View(CommandHistory(), None)
    assert view.steady(np.array([[1, 2, 3, 4]], np.float32), FRAME, FRAME.at_ns, CROSSHAIR) == [(1, 2, 3, 4)]
