"""Controllers in a simulated view with a known dead time, and what they share; no game."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.calibration import Calibration
from agent.history import CommandHistory
from agent.types import IDLE, LEFT, Action, Target
from core.errors import UserError
from plugins.controller import kalman, pid, predictive, proportional
from plugins.controller.track import Track, updated
from tests.agent.fakes import context, frame

FRAME_NS = 1_000_000_000 // 35
F = 320.0
CALIBRATED = Calibration(fov_deg=90, view_width_px=640, degrees_per_count=0.05)
KINDS = {
    "proportional": (proportional.ProportionalController, proportional.Settings),
    "pid": (pid.PidController, pid.Settings),
    "predictive": (predictive.PredictiveController, predictive.Settings),
    "kalman": (kalman.KalmanController, kalman.Settings),
}


class Aim:
    """A controller and the history that the loop keeps for it.

    :param truly: what a count turns, degrees, where the calibration is wrong about it.
    """

    def __init__(self, kind: str, calibration: Calibration = CALIBRATED, names=(), **settings: object) -> None:
        self.history = CommandHistory(calibration.delay_ns)
        given = context(calibration=calibration, history=self.history, names=names)
        controller, schema = KINDS[kind]
        known = {key: value for key, value in settings.items() if key in schema.model_fields}
        self.per_count = calibration.per_count
        self.controller = controller(schema(**{"vertical": False, **known}), given)

    def act(self, target: Target | None, frame, carried_out: bool = True) -> Action:
        action = self.controller.decide(target, frame)
        if carried_out and self.per_count is not None:
            self.history.add(frame.at_ns, action.dx * self.per_count[0], action.dy * self.per_count[1])
        self.controller.sent(action if carried_out else IDLE, frame)
        return action


def simulate(kind: str, latency: int, target_deg, frames: int = 70, wrong: float = 1.0, **settings) -> list[float]:
    """Errors (degrees, true) at each frame; the controller sees the picture of `latency` frames ago."""
    calibration = CALIBRATED.model_copy(update={"degrees_per_count": 0.05 * wrong})
    aim = Aim(kind, calibration, **{"gain": 0.6, **settings})
    view, past, errors = 0.0, [], []
    for i in range(frames):
        now = frame(i, 640, 480, at_ns=(i + 1) * FRAME_NS)
        error = target_deg(i) - view
        errors.append(error)
        past.append((error, now.at_ns))
        seen = None
        if len(past) > latency:
            late, at_ns = past[-1 - latency]
            if abs(late) < 44:
                x = F * math.tan(math.radians(late))
                seen = Target((310 + x, 230, 330 + x, 250), 0, 1.0, 320 + x, 240, x, 0.0, at_ns)
        view += aim.act(seen, now).dx * 0.05
    return errors


def past_the_target(errors: list[float]) -> float:
    return max(0.0, -min(errors))


@pytest.mark.parametrize("latency", [0, 2, 4, 7, 10])
def test_a_step_is_taken_without_overshoot_whatever_the_latency(latency: int) -> None:
    errors = simulate("predictive", latency, lambda i: 20.0)
    assert past_the_target(errors) <= 0.05 * 20
    settled = latency + round(0.150 * 35) + 1
    assert all(abs(e) < 1.0 for e in errors[settled:]), f"within latency and 150 ms: {errors}"


def test_the_plain_controller_runs_past_and_swings() -> None:
    assert past_the_target(simulate("proportional", 4, lambda i: 20.0)) > 10


def test_a_moving_target_is_followed_no_farther_behind_however_late_the_pictures() -> None:
    """Nor by what it moves in a frame (0.86 degrees), which is turned ahead."""
    for latency in (0, 3, 7):
        errors = simulate("predictive", latency, lambda i: 10 + 30 * i / 35, frames=120, lead_max_deg=20)
        assert max(abs(e) for e in errors[60:]) < 0.3
    swings = simulate("proportional", 3, lambda i: 10 + 30 * i / 35, frames=120)
    assert max(abs(e) for e in swings[60:]) > 3


@pytest.mark.parametrize("wrong", [0.7, 1.3])
def test_a_wrong_calibration_still_converges(wrong: float) -> None:
    errors = simulate("predictive", 3, lambda i: 20.0, frames=150, wrong=wrong)
    assert max(abs(e) for e in errors[100:]) < 0.5


def test_the_next_shot_waits_for_a_picture_of_the_last() -> None:
    aim = Aim("predictive", fire="tap")
    latency, fired = 4, []
    for i in range(20):
        now = frame(i, 640, 480, at_ns=(i + 1) * FRAME_NS)
        seen = Target((310, 230, 330, 250), 0, 1.0, 320, 240, 0.0, 0.0, max(1, now.at_ns - latency * FRAME_NS))
        if aim.act(seen, now).buttons & LEFT:
            fired.append(i)
    assert len(fired) >= 3
    assert min(b - a for a, b in itertools.pairwise(fired)) > latency


def test_what_was_vetoed_is_not_in_flight() -> None:
    aim = Aim("predictive", gain=1)
    x = F * math.tan(math.radians(10))
    seen = Target((310, 230, 330, 250), 0, 1.0, 320 + x, 240, x, 0.0)
    first = aim.act(seen, frame(0, 640, 480, at_ns=FRAME_NS), carried_out=False)
    again = aim.act(seen, frame(1, 640, 480, at_ns=2 * FRAME_NS))
    assert first.dx == again.dx == 200


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(-30, 30)), max_size=40), st.integers(0, 200))
def test_in_the_end_a_picture_shows_all_that_was_sent(moves: list[tuple[int, float]], delay_ms: int) -> None:
    history, at_ns = CommandHistory(delay_ms * 1_000_000), 0
    for step, x in moves:
        at_ns += step * 1_000_000
        history.add(at_ns, x, 0.0)
    total = sum(x for _, x in moves)
    assert history.view[0] == pytest.approx(total, abs=1e-6)
    assert history.shown(at_ns + delay_ms * 1_000_000 + 1)[0] == pytest.approx(total, abs=1e-6)
    assert history.shown(0)[0] == pytest.approx(0, abs=1e-6)


@given(st.floats(-40, 40), st.floats(-40, 40), st.floats(0, 0.7))
def test_a_steady_rate_is_found(start: float, rate: float, smoothing: float) -> None:
    tracked: Track | None = None
    for i in range(200):
        at_ns = (i + 1) * FRAME_NS
        tracked = updated(tracked, at_ns, start + rate * at_ns / 1e9, 0.0, smoothing, jump_deg=4)
    assert tracked is not None
    assert tracked.rate_x == pytest.approx(rate, abs=0.05 + abs(rate) * 0.01)
    ahead, _ = tracked.ahead(tracked.at_ns + 100_000_000, limit_deg=100)
    assert ahead == pytest.approx(start + rate * (200 * FRAME_NS / 1e9 + 0.1), abs=0.1 + abs(rate) * 0.01)
    bounded, _ = tracked.ahead(tracked.at_ns + 10_000_000_000, limit_deg=3)
    assert abs(bounded - tracked.x) <= 3 + 1e-9


def test_without_calibration_it_is_proportional(caplog: pytest.LogCaptureFixture) -> None:
    seen = Target((310, 230, 330, 250), 0, 1.0, 420, 240, 100.0, 0.0)
    now = frame(0, 640, 480, at_ns=FRAME_NS)
    for kind, gain in (("proportional", 0.3), ("predictive", 0.3), ("pid", 0.3)):
        assert Aim(kind, Calibration(), gain=gain).act(seen, now).dx == 30
    for kind in ("predictive", "pid"):
        caplog.clear()
        assert Aim(kind, Calibration(), gain=0.9).act(seen, now).dx == 30, "no more than the safe gain"
        assert f'the controller "{kind}" is proportional' in caplog.text
        assert "calibrate" in caplog.text


errors = st.one_of(st.none(), st.floats(-300, 300))


@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(errors, min_size=1, max_size=60),
    st.integers(0, 5),
    st.floats(10, 500),
)
def test_commands_stay_within_the_limits_and_are_the_same_each_time(
    kind: str, seen: list[float | None], lag: int, speed: float
) -> None:
    runs = []
    for _ in range(2):
        aim = Aim(kind, gain=1.5, integral_per_s=2, derivative_s=0.1, max_counts=50, max_deg_per_s=speed)
        turned = []
        for i, error in enumerate(seen):
            now = frame(i, 640, 480, at_ns=(i + 1) * FRAME_NS)
            at_ns = max(1, now.at_ns - lag * FRAME_NS)
            target = None if error is None else Target((310, 230, 330, 250), 0, 1.0, 320, 240, error, 0.0, at_ns)
            turned.append(aim.act(target, now).dx)
        runs.append(turned)
    assert runs[0] == runs[1]
    assert all(abs(dx) <= 50 for dx in runs[0])
    most = speed * FRAME_NS / 1e9 / 0.05
    assert all(abs(dx) <= most + 1 for dx in runs[0])


@given(st.sampled_from(sorted(KINDS)), st.integers(1, 40))
def test_on_nothing_it_does_nothing(kind: str, frames: int) -> None:
    aim = Aim(kind, fire="hold")
    assert all(aim.act(None, frame(i, 640, 480, at_ns=(i + 1) * FRAME_NS)).idle for i in range(frames))


@given(st.lists(st.tuples(st.floats(-20, 20), st.integers(2, 150)), min_size=2, max_size=40))
def test_a_turn_becomes_faster_and_slower_as_it_may(given: list[tuple[float, int]]) -> None:
    """Frames come at times that vary, as live ones do."""
    aim = Aim("pid", gain=1, max_deg_per_s2=600, max_counts=100_000)
    now_ns, speeds, waits = 1_000_000_000, [], []
    for i, (error, wait_ms) in enumerate(given):
        now_ns += wait_ms * 1_000_000
        x = F * math.tan(math.radians(error))
        target = Target((310, 230, 330, 250), 0, 1.0, 320, 240, x, 0.0)
        turned = aim.act(target, frame(i, 640, 480, at_ns=now_ns)).dx * 0.05
        waits.append(wait_ms / 1e3 if i else 1 / 60)
        speeds.append(turned / waits[-1])
    for i in range(1, len(speeds)):
        rounding = 0.05 / waits[i] + 0.05 / waits[i - 1]
        assert abs(speeds[i] - speeds[i - 1]) <= 600 * waits[i] + rounding


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_held_back_leaves_nothing_behind(kind: str) -> None:
    """Two seconds of vetoes, as before the arm key is held; then it goes on as one that begins there."""
    settings = {"integral_per_s": 0.3, "fire": "tap", "fire_pause_ms": 400, "max_deg_per_s2": 300}
    x = F * math.tan(math.radians(1))
    seen = Target((310, 230, 330, 250), 0, 1.0, 320 + x, 240, x, 0.0)
    vetoed, fresh = Aim(kind, **settings), Aim(kind, **settings)
    for i in range(70):
        vetoed.act(seen, frame(i, 640, 480, at_ns=(i + 1) * FRAME_NS), carried_out=False)
    fresh.act(None, frame(69, 640, 480, at_ns=70 * FRAME_NS))
    last = frame(70, 640, 480, at_ns=71 * FRAME_NS)
    assert vetoed.act(seen, last) == fresh.act(seen, last)


@given(st.sampled_from(sorted(KINDS)), st.lists(st.tuples(st.floats(-200, 200), st.booleans()), max_size=40))
def test_decide_changes_nothing_that_has_to_be_taken_back(kind: str, steps: list[tuple[float, bool]]) -> None:
    """Deciding once more on the same frame, as if the first answer had been lost, gives the same action."""
    aim = Aim(kind, fire="tap", max_deg_per_s=300)
    for i, (error, carried_out) in enumerate(steps):
        now = frame(i, 640, 480, at_ns=(i + 1) * FRAME_NS)
        seen = Target((310, 230, 330, 250), 0, 1.0, 320 + error, 240, error, 0.0)
        first = aim.controller.decide(seen, now)
        second = aim.controller.decide(seen, now)
        assert first.buttons == second.buttons
        aim.act(seen, now, carried_out)


def test_the_deadband_holds_for_every_method() -> None:
    for kind in KINDS:
        aim = Aim(kind, deadband_px=50)
        seen = Target((310, 230, 330, 250), 0, 1.0, 340, 240, 20.0, 0.0)
        assert all(aim.act(seen, frame(i, 640, 480, at_ns=(i + 1) * FRAME_NS)).dx == 0 for i in range(20))


def test_a_class_can_be_led_more() -> None:
    """A target that moves at 20 degrees a second, shot at with what flies for 200 ms: aimed at four degrees ahead."""
    last = {}
    for lead in ({}, {"runner": 200}):
        aim = Aim("predictive", gain=1, lead_ms=lead, names=("sitter", "runner"))
        view = 0.0
        for i in range(60):
            x = F * math.tan(math.radians(20 * (i + 1) / 35 - view))
            target = Target((310, 230, 330, 250), 1, 1.0, 320, 240, x, 0.0)
            view += aim.act(target, frame(i, 640, 480, at_ns=(i + 1) * FRAME_NS)).dx * 0.05
        last[bool(lead)] = view
    assert last[True] - last[False] == pytest.approx(4, abs=0.2)
    with pytest.raises(UserError, match='did you mean "runner"'):
        Aim("predictive", lead_ms={"runer": 1}, names=("sitter", "runner"))


@given(speed=st.floats(-40, 40), start=st.floats(-20, 20), fps=st.sampled_from([30, 60, 144]))
def test_a_kalman_filter_learns_a_constant_speed(speed: float, start: float, fps: int) -> None:
    axis = kalman.Axis(start)
    for i in range(1, 2 * fps):
        axis.update(start + speed * i / fps, 1 / fps, noise=0.2, agility=200.0)
    assert axis.rate == pytest.approx(speed, abs=0.05 * abs(speed) + 0.05)
    assert axis.place == pytest.approx(start + speed * (2 * fps - 1) / fps, abs=0.05)
