"""Where boxes are as the view turns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history import CommandHistory, View
from tests.agent.fakes import frame

FRAME = frame(0, 640, 480, at_ns=10)
CROSSHAIR = (320.0, 250.0)


@given(
    corner=st.tuples(st.floats(0, 600, width=32), st.floats(0, 400, width=32)),
    size=st.tuples(st.floats(1, 40, width=32), st.floats(1, 80, width=32)),
    turns=st.lists(st.tuples(st.floats(-20, 20), st.floats(-10, 10)), max_size=4),
)
def test_a_box_is_found_again_where_it_was_taken_from(corner, size, turns) -> None:
    """Whatever the view turned before, and without calibration as well."""
    history = CommandHistory()
    for i, (x, y) in enumerate(turns):
        history.add(i + 1, x, y)
    box = (*corner, corner[0] + size[0], corner[1] + size[1])
    for view in (View(history, lambda width: width / 2), View(history, None)):
        (steady,) = view.steady(np.array([box], np.float32), FRAME, FRAME.at_ns, CROSSHAIR)
        assert view.in_picture(steady, FRAME, FRAME.at_ns, CROSSHAIR) == pytest.approx(box, abs=0.01)


def test_a_turn_moves_the_expected_place_by_as_much_and_out_of_the_picture() -> None:
    history = CommandHistory()
    view = View(history, lambda width: width / 2)
    (steady,) = view.steady(np.array([[310, 240, 330, 260]], np.float32), FRAME, FRAME.at_ns, CROSSHAIR)
    history.add(5, 30.0, 0.0)
    left, _, right, _ = view.in_picture(steady, FRAME, FRAME.at_ns, CROSSHAIR)
    assert (left + right) / 2 == pytest.approx(320 - 320 * np.tan(np.radians(30)), abs=1)
    history.add(6, 70.0, 0.0)
    assert view.in_picture(steady, FRAME, FRAME.at_ns, CROSSHAIR) is None, "it is behind the view"
