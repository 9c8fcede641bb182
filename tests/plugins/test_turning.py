import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.calibration import Calibration
from agent.types import IDLE, LEFT, Action, Target
from core.errors import UserError
from plugins.controller.proportional import ProportionalController, Settings
from plugins.controller.turning import check
from tests.agent.fakes import context, frame


def target(error_x: float, error_y: float = 0.0, size: float = 20.0) -> Target:
    x, y = 32 + error_x, 24 + error_y
    half = size / 2
    return Target((x - half, y - half, x + half, y + half), 0, 1.0, x, y, error_x, error_y)


class Aim:
    """A proportional controller whose every action is carried out."""

    def __init__(self, absolute: bool = False, calibration: dict | None = None, **settings: object) -> None:
        given = context(absolute=absolute, calibration=Calibration(**(calibration or {})))
        self.controller = ProportionalController(Settings(**settings), given)
        self.history = given.history

    def act(self, target: Target | None, frame) -> Action:
        action = self.controller.decide(target, frame)
        self.controller.sent(action, frame)
        return action


def test_pixels_without_calibration() -> None:
    action = Aim(gain=0.5).act(target(20, -8), frame())
    assert (action.dx, action.dy, action.buttons, action.point) == (10, -4, 0, None)


def test_degrees_with_calibration() -> None:
    # At 90 degrees the eye is half the view's width away: an error as large is 45 degrees.
    aim = Aim(gain=1, calibration={"fov_deg": 90, "view_width_px": 640, "degrees_per_count": 0.1})
    assert aim.act(target(320), frame()).dx == 450
    assert aim.act(target(-320, 320), frame()).dy == 450


def test_the_view_is_the_frame_where_nothing_else_is_said() -> None:
    aim = Aim(gain=1, calibration={"fov_deg": 90, "degrees_per_count": 0.1})
    assert aim.act(target(32), frame(width=64)).dx == 450


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=50), st.floats(0.05, 2))
def test_parts_of_a_count_are_never_lost(errors: list[float], gain: float) -> None:
    aim = Aim(gain=gain)
    sent = sum(aim.act(target(e), frame()).dx for e in errors)
    assert abs(sent - sum(gain * e for e in errors)) <= 0.5 + 1e-6


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_never_more_than_the_limit(x: float, y: float) -> None:
    action = Aim(gain=2, max_counts=100).act(target(x, y), frame())
    assert max(abs(action.dx), abs(action.dy)) <= 100


def test_the_deadband_is_left_alone_and_vertical_can_be_off() -> None:
    aim = Aim(gain=1, deadband_px=5, vertical=False)
    action = aim.act(target(4, 40), frame())
    assert (action.dx, action.dy) == (0, 0)


def test_holding_and_tapping() -> None:
    hold = Aim(fire="hold", fire_within=0.5)
    assert [hold.act(target(e), frame()).buttons for e in (0, 4, 6, 0)] == [LEFT, LEFT, 0, LEFT]
    tap = Aim(fire="tap", fire_within=0.5)
    assert [tap.act(target(e), frame()).buttons for e in (0, 0, 0, 6, 0)] == [LEFT, 0, LEFT, 0, LEFT]
    assert Aim().act(target(0), frame()).buttons == 0


def test_no_target_is_idle_or_a_search() -> None:
    assert Aim().act(None, frame()) == IDLE
    aim = Aim(search_deg_per_s=210, calibration={"degrees_per_count": 0.1318359375})
    turned = sum(aim.act(None, frame(at_ns=1 + i * 1_000_000_000 // 35)).dx for i in range(101))
    assert math.isclose(turned * 0.1318359375, 600 + 210 / 60, abs_tol=0.1)


@given(st.lists(st.integers(5, 200), min_size=1, max_size=40), st.floats(-400, 400))
def test_a_search_is_as_fast_however_often_a_frame_comes(periods_ms: list[int], speed: float) -> None:
    aim = Aim(search_deg_per_s=speed, max_counts=100_000, calibration={"degrees_per_count": 0.01})
    at_ns, turned = 1, 0
    aim.act(None, frame(at_ns=at_ns))
    for period in periods_ms:
        at_ns += period * 1_000_000
        turned += aim.act(None, frame(at_ns=at_ns)).dx
    assert turned * 0.01 == pytest.approx(speed * sum(periods_ms) / 1e3, abs=0.02)


def test_degrees_without_calibration_are_refused() -> None:
    for wanted in ({"search_deg_per_s": 210}, {"max_deg_per_s": 90}, {"max_deg_per_s2": 90}):
        with pytest.raises(UserError, match=r"calibration\.degrees_per_count must be set too"):
            check(Settings(**wanted), context())
    known = context(calibration=Calibration(degrees_per_count=0.1))
    check(Settings(search_deg_per_s=210), known)
    with pytest.raises(UserError, match=r"calibration\.fov_deg must be set too"):
        check(Settings(max_deg_per_s=90), known)
    with pytest.raises(ValidationError, match="degrees_per_count must be set too"):
        Calibration(fov_deg=90)


def test_each_axis_has_its_own_degrees_a_count() -> None:
    """The second one inverted, as some mice are."""
    aim = Aim(gain=1, calibration={"fov_deg": 90, "view_width_px": 640, "degrees_per_count": [0.1, -0.2]})
    action = aim.act(target(320, 320), frame())
    assert (action.dx, action.dy) == (450, -225)


def test_what_was_held_back_leaves_nothing_behind() -> None:
    vetoed, fresh = Aim(gain=0.3, fire="tap").controller, Aim(gain=0.3, fire="tap").controller
    for error in (1, 2, 0.7, 0):
        vetoed.decide(target(error), frame())
        vetoed.sent(IDLE, frame())
    assert vetoed.decide(target(3.1), frame()) == fresh.decide(target(3.1), frame())


def test_absolute_actuation_gets_the_point_on_the_screen() -> None:
    aim = Aim(fire="hold", absolute=True)
    action = aim.act(target(10, 5), frame(origin=(100, 200)))
    assert action.point == (142, 229)
    assert action.buttons == LEFT


def test_an_episode_starts_afresh() -> None:
    used, new = Aim(gain=0.3, fire="tap"), Aim(gain=0.3, fire="tap")
    for error in (1, 2, 0.7, 0):
        used.act(target(error), frame())
    used.controller.begin(1)
    assert used.act(target(3.1), frame()) == new.act(target(3.1), frame())


class Searching(Aim):
    """One that searches, and whose view is where it has turned to."""

    def __init__(self) -> None:
        super().__init__(gain=1, search_deg_per_s=500.0, calibration={"fov_deg": 90, "degrees_per_count": 0.1})
        self.at_ns = 1

    def act(self, target: Target | None, frame_of=None) -> Action:
        self.at_ns += 20_000_000
        action = super().act(target, frame(at_ns=self.at_ns))
        self.history.add(self.at_ns, action.dx * 0.1, action.dy * 0.1)
        return action


def test_a_search_comes_back_to_where_it_looked_and_then_looks_higher_and_lower() -> None:
    aim = Searching()
    aim.history.add(1, 0.0, -60.0)  # whoever was shot at stood on a roof
    for _ in range(36):
        aim.act(None)
    assert aim.history.view[1] == pytest.approx(-60, abs=0.2), "the next may stand beside"
    for _ in range(10):
        aim.act(None)
    assert aim.history.view[1] == pytest.approx(0, abs=0.2)
    heights = set()
    for _ in range(6 * 36):
        assert aim.act(None).dx == 100
        heights.add(round(aim.history.view[1]))
    assert min(heights) <= -50
    assert max(heights) >= 50


def test_a_search_levels_where_targets_were() -> None:
    aim = Searching()
    for _ in range(400):
        aim.act(target(0))
        aim.history.add(aim.at_ns, 0.0, 30.0 - aim.history.view[1])  # they are below
    aim.history.add(aim.at_ns, 0.0, -50.0)
    for _ in range(50):
        aim.act(None)
    assert aim.history.view[1] == pytest.approx(30, abs=2)
