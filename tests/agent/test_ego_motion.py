"""The estimator of scale and delay, on a made world that a mouse turns late."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calibration import Calibration
from agent.ego_motion import BANDS, COMPARED_PX, FEWEST_LEVEL, LEVEL, MotionEstimator, level, shift
from agent.history import CommandHistory
from agent.types import Action, Frame
from tests.evaluation.worlds import World

PERIOD_NS, OUT_NS = 25_000_000, 6_000_000


def run(
    world: World,
    told: tuple[float, float],
    delay_ms: float = 0.0,
    frames: int = 300,
    late_ms: float = 0.0,
    dead: int = 0,
    around_deg: float = 0.0,
) -> MotionEstimator:
    """Turn a world to and fro, and up and down about a pitch; in its last `dead` frames it takes no motion."""
    rng = np.random.default_rng(3)
    history = CommandHistory(int(delay_ms * 1e6))
    estimator = MotionEstimator(Calibration(fov_deg=world.fov_deg, degrees_per_count=told), history)
    under_way: list[tuple[int, Action]] = []
    for i in range(frames):
        at_ns = 1 + i * PERIOD_NS
        while under_way and under_way[0][0] <= at_ns:
            world.turn(under_way.pop(0)[1])
        frame = Frame(world.picture(), i, at_ns, at_ns)
        estimator.see(frame)
        off = world.pitch_deg - around_deg
        up = -math.copysign(2.0, off) if abs(off) > 15 else float(rng.uniform(-2, 2))
        action = Action(round(3.0 * math.sin(i / 6) / abs(world.right)), round(up / world.down))
        estimator.sent(action.dx, action.dy, at_ns + OUT_NS)
        if i < frames - dead:
            under_way.append((at_ns + OUT_NS + int(late_ms * 1e6), action))
    return estimator


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "down", "told"),
    [(0.11, 0.11, (0.055, 0.055)), (0.11, 0.2, (0.22, 0.1)), (-0.1, -0.05, (-0.15, -0.1))],
    ids=["half of it", "one axis each way", "inverted"],
)
def test_a_wrong_scale_is_put_right(right: float, down: float, told: tuple[float, float]) -> None:
    estimator = run(World(right, down, width=320, height=240, overlay=True), told)
    x, y = estimator.history.scale
    assert told[0] * x == pytest.approx(right, rel=0.08)
    assert told[1] * y == pytest.approx(down, rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize(("believed", "true"), [(0.0, 90.0), (120.0, 30.0)])
def test_a_wrong_delay_is_put_right_to_a_frame(believed: float, true: float) -> None:
    estimator = run(World(0.11, 0.11, width=320, height=240), (0.11, 0.11), believed, late_ms=true)
    assert estimator.history.delay_ns / 1e6 == pytest.approx(true, abs=PERIOD_NS / 1e6)
    assert estimator.history.scale[0] == pytest.approx(1.0, abs=0.08)


def test_a_right_calibration_stays_and_the_dead_teach_nothing() -> None:
    estimator = run(World(0.11, 0.11, width=320, height=240), (0.11, 0.11), 40.0, late_ms=40.0, dead=80)
    assert estimator.history.scale == pytest.approx((1.0, 1.0), abs=0.12)
    assert estimator.history.delay_ns / 1e6 == pytest.approx(40, abs=PERIOD_NS / 1e6)


@pytest.mark.slow
@pytest.mark.parametrize("told", [0.1, 0.11, 0.121])
def test_a_scale_that_is_nearly_right_is_left_as_calibrate_has_measured_it(told: float) -> None:
    estimator = run(World(0.11, 0.11, width=320, height=240, overlay=True), (told, told), 40.0, late_ms=40.0)
    assert estimator.history.scale == (1.0, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("around_deg", [-60.0, -35.0, 60.0])
def test_a_view_that_stays_steeply_up_or_down_teaches_nothing_wrong(around_deg: float) -> None:
    estimator = run(World(0.11, -0.11, width=320, height=240), (0.11, -0.11), frames=500, around_deg=around_deg)
    assert estimator.history.scale == pytest.approx((1.0, 1.0), abs=0.12)


@pytest.mark.slow
def test_a_view_that_comes_back_to_level_is_learnt_from_again() -> None:
    estimator = run(World(0.11, 0.11, width=320, height=240, pitch_deg=-70.0), (0.07, 0.11), frames=300)
    assert 0.07 * estimator.history.scale[0] == pytest.approx(0.11, rel=0.1)


@given(
    lower=st.lists(st.floats(-20, 20), min_size=8, max_size=60),
    ratio=st.floats(-0.5, 2.0),
    unknown=st.lists(st.integers(0, 59), max_size=60),
)
def test_the_view_is_level_where_both_halves_move_alike(lower: list[float], ratio: float, unknown: list[int]) -> None:
    low = np.array(lower)
    low[[i for i in unknown if i < len(low)]] = np.nan
    few = np.sum(np.abs(np.nan_to_num(low)) > COMPARED_PX) < FEWEST_LEVEL
    inside = LEVEL[0] + 1e-9 < ratio < LEVEL[1] - 1e-9
    outside = ratio < LEVEL[0] - 1e-9 or ratio > LEVEL[1] + 1e-9
    found = level(ratio * low, low)
    assert (found is None) == few
    assert few or found or not inside
    assert few or not found or not outside


@pytest.mark.slow
def test_the_same_pictures_and_counts_teach_the_same() -> None:
    def once() -> dict[str, float | int]:
        return run(World(0.11, 0.11, width=320, height=240), (0.07, 0.15), frames=220, late_ms=30.0).to_dict()

    first = once()
    assert first["updates"] > 0
    assert once() == first


@pytest.mark.parametrize("places", [8, 11])
def test_profiles_too_short_to_tell_shifts_apart_are_never_sure(places: int) -> None:
    rng = np.random.default_rng(places)
    for _ in range(50):
        one, other = rng.normal(0, 1, (2, BANDS, places)).astype(np.float32)
        assert np.isnan(shift(one, other))
        assert np.isnan(shift(one, one))
