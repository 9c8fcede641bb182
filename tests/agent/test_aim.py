import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.aim import AimController, AimSettings
from agent.types import IDLE, LEFT, Target
from tests.agent.makes import frame


def target(error_x: float, error_y: float = 0.0, size: float = 20.0) -> Target:
    x, y = 32 + error_x, 24 + error_y
    half = size / 2
    return Target((x - half, y - half, x + half, y + half), 0, 1.0, x, y, error_x, error_y)


def test_pixels_without_calibration() -> None:
    action = AimController(AimSettings(gain=0.5)).act(target(20, -8), frame())
    assert (action.dx, action.dy, action.buttons, action.point) == (10, -4, 0, None)


def test_degrees_with_calibration() -> None:
    # At 90 degrees the eye is half the view's width away: an error as large is 45 degrees.
    aim = AimController(AimSettings(gain=1, fov_deg=90, view_width_px=640, degrees_per_count=0.1))
    assert aim.act(target(320), frame()).dx == 450
    assert aim.act(target(-320, 320), frame()).dy == 450


def test_the_view_is_the_frame_where_nothing_else_is_said() -> None:
    aim = AimController(AimSettings(gain=1, fov_deg=90, degrees_per_count=0.1))
    assert aim.act(target(32), frame(width=64)).dx == 450


@given(st.lists(st.floats(-300, 300), min_size=1, max_size=50), st.floats(0.05, 2))
def test_parts_of_a_count_are_never_lost(errors: list[float], gain: float) -> None:
    aim = AimController(AimSettings(gain=gain))
    sent = sum(aim.act(target(e), frame()).dx for e in errors)
    assert abs(sent - sum(gain * e for e in errors)) <= 0.5 + 1e-6


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_never_more_than_the_limit(x: float, y: float) -> None:
    action = AimController(AimSettings(gain=2, max_counts=100)).act(target(x, y), frame())
    assert max(abs(action.dx), abs(action.dy)) <= 100


def test_the_deadband_is_left_alone_and_vertical_can_be_off() -> None:
    aim = AimController(AimSettings(gain=1, deadband_px=5, vertical=False))
    action = aim.act(target(4, 40), frame())
    assert (action.dx, action.dy) == (0, 0)


def test_holding_and_tapping() -> None:
    hold = AimController(AimSettings(fire="hold", fire_within=0.5))
    assert [hold.act(target(e), frame()).buttons for e in (0, 4, 6, 0)] == [LEFT, LEFT, 0, LEFT]
    tap = AimController(AimSettings(fire="tap", fire_within=0.5))
    assert [tap.act(target(e), frame()).buttons for e in (0, 0, 0, 6, 0)] == [LEFT, 0, LEFT, 0, LEFT]
    assert AimController(AimSettings()).act(target(0), frame()).buttons == 0


def test_no_target_is_idle_or_a_search() -> None:
    assert AimController(AimSettings()).act(None, frame()) is IDLE
    aim = AimController(AimSettings(search_deg=6, degrees_per_count=0.1318359375))
    turned = sum(aim.act(None, frame()).dx for _ in range(100))
    assert math.isclose(turned * 0.1318359375, 600, abs_tol=0.1)


def test_search_without_calibration_is_refused() -> None:
    for wanted in ({"search_deg": 6}, {"fov_deg": 90}):
        with pytest.raises(ValidationError, match="degrees_per_count must be set too"):
            AimSettings(**wanted)


def test_absolute_actuation_gets_the_point_on_the_screen() -> None:
    aim = AimController(AimSettings(fire="hold"), absolute=True)
    action = aim.act(target(10, 5), frame(origin=(100, 200)))
    assert action.point == (142, 229)
    assert action.buttons == LEFT


def test_an_episode_starts_afresh() -> None:
    used = AimController(AimSettings(gain=0.3, fire="tap"))
    for error in (1, 2, 0.7, 0):
        used.act(target(error), frame(episode=0))
    new = AimController(AimSettings(gain=0.3, fire="tap"))
    assert used.act(target(3.1), frame(episode=1)) == new.act(target(3.1), frame(episode=1))
