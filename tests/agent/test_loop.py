import math
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.border import Border, PluginError
from agent.calibration import Calibration
from agent.capture_thread import Slot
from agent.history import CommandHistory
from agent.interlock import Interlock, StopFlag
from agent.loop import ActiveRoles, Pace, run
from agent.observers import PICTURE_CAPACITY, ObserverQueue
from agent.statistics import RunStatistics
from agent.types import Action, FrameEvent
from plugins.controller.predictive import PredictiveController
from plugins.controller.predictive import Settings as Predictive
from plugins.controller.proportional import ProportionalController
from plugins.controller.proportional import Settings as Proportional
from plugins.guard.staleness import Settings as StalenessSettings
from plugins.guard.staleness import StalenessGuard
from plugins.selection.nearest import NearestSelection, Settings
from tests.agent.fakes import Finder, Frames, Hand, context, detections, frame

LABELS = {role: f"the {role}" for role in ("capture", "detector", "selection", "controller")}


def active(
    capture, detector=None, observers=None, hand=None, controller=None, calibration=None, moves=True
) -> tuple[ActiveRoles, Hand, StopFlag]:
    stop, hand, detector = StopFlag(), hand or Hand(), detector or Finder()
    given = context(calibration=calibration or Calibration(), history=CommandHistory(), names=detector.names)
    roles = ActiveRoles(
        capture,
        detector,
        NearestSelection(Settings(), given),
        (controller or (lambda c: ProportionalController(Proportional(gain=0.5, fire="hold"), c)))(given),
        Interlock(hand, stop),
        observers or ObserverQueue([], wants_pixels=False, wait=False),
        given.history,
        Border(dict(LABELS), detector.names),
        given.calibration.per_count,
        moves,
    )
    return roles, hand, stop


def test_lock_step_works_on_every_frame() -> None:
    finder = Finder()
    roles, hand, stop = active(Frames(50), finder)
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=True, duration_s=None)
    assert finder.seen == list(range(50))
    assert (statistics.frames, statistics.dropped, len(hand.actions)) == (50, 0, 50)
    assert stop.reason == "end of the frames"
    assert statistics.stages["infer"].count == statistics.end_to_end.count == statistics.frame_age.count == 50


def test_the_same_frames_give_the_same_decisions() -> None:
    digests = []
    for count in (40, 40, 41):
        roles, _, stop = active(Frames(count))
        statistics = RunStatistics()
        run(roles, statistics, stop, lock_step=True, duration_s=None)
        digests.append(statistics.decisions)
    assert digests[0] == digests[1] != digests[2]


def test_live_takes_the_newest_frame_and_counts_the_rest() -> None:
    finder = Finder(delay_s=0.03)
    roles, _, stop = active(Frames(60, period_s=0.002), finder)
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=False, duration_s=None)
    assert finder.seen == sorted(set(finder.seen))
    assert finder.seen[-1] == 59
    assert statistics.frames + statistics.dropped == 60
    assert statistics.dropped > 10


class StandsStill(Finder):
    """Finds one box, always in the same place."""

    def detect(self, frame):
        return detections((29, 10, 39, 20))


class SlowAtTimes(Finder):
    """Takes ten times as long on every 20th frame."""

    def detect(self, frame):
        self.delay_s = 0.1 if len(self.seen) % 20 == 19 else 0.01
        return super().detect(frame)


def test_a_detector_that_is_slow_at_times_drops_frames_and_acts_on_none_that_is_old() -> None:
    roles, hand, stop = active(Frames(400, period_s=0.005), SlowAtTimes())
    roles.interlock.guarded_by([("staleness", StalenessGuard(StalenessSettings(max_age_ms=80), context()))])
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=False, duration_s=None)
    slow = len(roles.detector.seen) // 20
    assert slow >= 1
    assert statistics.frames + statistics.dropped == 400
    assert statistics.dropped >= 5 * slow, "those that came while it was slow"
    assert roles.interlock.vetoes["staleness"] >= slow
    assert statistics.frame_age.max_ns <= 80_000_000, "nothing older was acted on"
    assert len(hand.actions) >= statistics.frames - roles.interlock.vetoes["staleness"]


def test_what_moves_nothing_is_not_in_flight() -> None:
    """In a dry run the picture stays as it is, and an aim that knows what it sent must not believe that it turned."""
    calibration = Calibration(fov_deg=90, degrees_per_count=0.05)
    error_deg = math.degrees(math.atan((34 - 32) / 32))
    turns = {}
    for moves in (False, True):
        roles, hand, stop = active(
            Frames(30),
            StandsStill(),
            controller=lambda c: PredictiveController(Predictive(gain=0.4, vertical=False), c),
            calibration=calibration,
            moves=moves,
        )
        run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)
        turns[moves] = [action.dx for action in hand.actions]
    assert turns[False] == pytest.approx([0.4 * error_deg / 0.05] * 30, abs=1)
    assert turns[True][-1] > 1.5 * turns[False][-1], "what stays in place though the view turns must be moving"


def test_a_dry_run_loses_no_part_of_a_count() -> None:
    """A gain so small that most actions are of no count: the log adds up to what was to be turned."""
    roles, hand, stop = active(
        Frames(60), controller=lambda c: ProportionalController(Proportional(gain=0.003), c), moves=False
    )
    run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)
    wanted_x = sum(0.003 * (i % 40 + 5 - 32) for i in range(60))
    wanted_y = 60 * 0.003 * (15 - 24)
    assert sum(action.dx for action in hand.actions) == pytest.approx(wanted_x, abs=0.51)
    assert sum(action.dy for action in hand.actions) == pytest.approx(wanted_y, abs=0.51)


class Remembering:
    """A controller that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def begin(self, episode: int) -> None:
        self.told.append(("begin", episode))

    def decide(self, target, frame) -> Action:
        return Action(frame.index % 2)

    def sent(self, action: Action, frame) -> None:
        self.told.append(("sent", action))


def test_a_controller_is_told_what_was_carried_out_and_where_an_episode_begins() -> None:
    class TwoEpisodes(Frames):
        def grab(self):
            given = super().grab()
            if given is not None:
                given.episode = given.index // 3
            return given

    class Odd:
        def check(self, action, presses, frame, now_ns):
            return "no" if frame.index == 3 else None

    remembering = Remembering()
    roles, _, stop = active(TwoEpisodes(6), controller=lambda c: remembering)
    roles.interlock.guarded_by([("odd", Odd())])
    run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)
    sent = [("sent", Action(dx)) for dx in (0, 1, 0, 0, 0, 1)]
    assert remembering.told == [("begin", 0), *sent[:3], ("begin", 1), *sent[3:]]


def test_the_history_has_what_was_carried_out_in_this_episode() -> None:
    class TwoEpisodes(Frames):
        def grab(self):
            given = super().grab()
            if given is not None:
                given.episode = given.index // 5
            return given

    calibration = Calibration(fov_deg=90, degrees_per_count=(0.5, 0.25))
    roles, hand, stop = active(TwoEpisodes(10), controller=lambda c: Remembering(), calibration=calibration)
    run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)
    assert roles.history.view == (0.5 * 3, 0.0), "frames 5, 7 and 9"
    assert len(hand.actions) == 5


def test_each_episode_has_a_digest_of_its_own() -> None:
    class Episodes(Frames):
        def grab(self):
            given = super().grab()
            if given is not None:
                given.episode = given.index // 4
            return given

    roles, _, stop = active(Episodes(10))
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=True, duration_s=None)
    digests = [statistics.decisions_of(i) for i in range(4)]
    assert len(set(digests[:3])) == 3
    assert digests[3] is None


@pytest.mark.parametrize(
    ("detected", "says"),
    [
        (lambda f: None, "the detector: detect must return Detections, and returned NoneType (None)"),
        (lambda f: detections((1, 1, 2, 2), classes=[7]), "must return class_id from 0 to 0, and returned class 7"),
        (lambda f: detections((1, 1, 2, 2), classes=[-5]), "must return class_id from 0 to 0, and returned class -5"),
        (lambda f: detections((np.nan, 1, 2, 2)), "must return finite boxes and confidences"),
        (lambda f: replace(detections((1, 1, 2, 2)), at_ns=f.at_ns + 1), "must return at_ns not after the frame's"),
    ],
)
def test_what_a_detector_returns_is_checked(detected, says: str) -> None:
    class Wrong(Finder):
        def detect(self, frame):
            return detected(frame)

    roles, hand, stop = active(Frames(5), Wrong())
    with pytest.raises(PluginError) as error:
        run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert hand.actions == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pixels": np.zeros((4, 4, 3))}, "the capture: grab must return pixels uint8 (height, width, 3 or 4), and returned float64 (4, 4, 3)"),
        ({"pixels": np.zeros((4, 4), np.uint8)}, "and returned uint8 (4, 4)"),
        ({"grab_ns": time.time_ns(), "grabbed_ns": time.time_ns()}, "of time.perf_counter_ns()"),
        ({"grabbed_ns": 1}, "in this order"),
    ],
)  # fmt: skip
def test_what_a_capture_returns_is_checked(changes: dict, says: str) -> None:
    class Wrong(Frames):
        def grab(self):
            given = super().grab()
            for name, value in changes.items():
                setattr(given, name, value)
            return given

    roles, _, stop = active(Wrong(2))
    with pytest.raises(PluginError) as error:
        run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)
    assert says in str(error.value)


def test_a_clock_that_runs_backwards_is_an_error() -> None:
    class Backwards(Frames):
        def grab(self):
            given = super().grab()
            if given is not None:
                given.at_ns = 1000 - given.index
            return given

    roles, _, stop = active(Backwards(5))
    with pytest.raises(PluginError, match="at_ns of 1000 or later, as before, and returned 999"):
        run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)


@pytest.mark.parametrize(
    ("decided", "says"),
    [(None, "must return an Action"), (Action(1.5), "dx, dy and buttons of type int, and returned float, int and int")],
)
def test_what_a_controller_returns_is_checked(decided, says: str) -> None:
    class Wrong(Remembering):
        def decide(self, target, frame):
            return decided

    roles, _, stop = active(Frames(2), controller=lambda c: Wrong())
    with pytest.raises(PluginError, match=says):
        run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)


def test_patience_goes_by_the_loops_clock() -> None:
    """No new picture for longer than the patience, by an injected clock: the button goes up without waiting for it."""

    class Stalling(Frames):
        def grab(self):
            if self.given == 1:
                acted.wait(10)
                time.sleep(0.1)
                late.set()
                go_on.wait(10)
                return None
            return super().grab()

    class Centred(Finder):
        def detect(self, frame):
            return detections((27, 19, 37, 29))

    acted, go_on, late = threading.Event(), threading.Event(), threading.Event()

    def clock() -> int:
        return time.perf_counter_ns() + (3_600_000_000_000 if late.is_set() else 0)

    class Watched(Hand):
        def apply(self, action):
            super().apply(action)
            acted.set()

        def release(self):
            super().release()
            go_on.set()

    roles, hand, stop = active(Stalling(5), Centred(), hand=Watched())
    roles.clock = clock
    run(roles, RunStatistics(), stop, lock_step=False, duration_s=None, patience_s=60)
    assert hand.releases >= 1
    assert hand.down == 0
    assert stop.reason == "end of the frames"


@pytest.mark.alone
def test_a_capped_loop_rests_and_takes_the_newest() -> None:
    finder = Finder()
    roles, _, stop = active(Frames(60, period_s=0.004), finder)
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=False, duration_s=None, max_fps=50)
    assert 8 <= statistics.frames <= 20
    assert statistics.frames + statistics.dropped == 60
    assert finder.seen == sorted(set(finder.seen))


@pytest.mark.alone  # it goes by real durations
def test_a_loop_with_a_share_rests_by_how_long_it_worked() -> None:
    finder = Finder()
    finder.delay_s = 0.01
    roles, _, stop = active(Frames(100, period_s=0.004), finder)
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=False, duration_s=None, max_share=0.25)
    assert statistics.dropped > statistics.frames
    assert statistics.frames + statistics.dropped == 100
    assert finder.seen == sorted(set(finder.seen))


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0.01, 1))
def test_a_turn_lasts_its_period_and_no_more_than_its_share_is_work(period: int, work: int, share: float) -> None:
    rest = max(0, Pace(period, 1 / share).rest_ns(5, 5 + work))
    assert work + rest >= period
    assert work <= share * (work + rest) + 1


def test_a_long_rest_keeps_the_watchdog_quiet_and_lets_go() -> None:
    """The share of a slow network is kept also where it is longer than the watchdog's patience."""
    finder = Finder()
    finder.delay_s = 0.03
    roles, hand, stop = active(Frames(40, period_s=0.01), finder)
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=False, duration_s=None, patience_s=0.1, max_share=0.1)
    assert hand.down == 0
    assert statistics.frames + statistics.dropped == 40
    assert statistics.frames <= 5


@pytest.mark.alone  # it goes by real durations
def test_a_network_that_others_slow_down_is_counted() -> None:
    class Contended(Finder):
        def detect(self, frame):
            self.delay_s = 0.02 if frame.index >= 150 else 0.002
            return super().detect(frame)

    roles, _, stop = active(Frames(160), Contended())
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=True, duration_s=None)
    assert 1e6 < statistics.alone_ns < 2e7
    assert 8 <= statistics.contended <= 20


def test_live_ends_in_time_although_the_capture_stalls() -> None:
    class Stalling(Frames):
        def grab(self):
            if self.given == 3:
                stalled.set()
                go_on.wait(10)
                return None
            return super().grab()

    stalled, go_on = threading.Event(), threading.Event()
    roles, hand, stop = active(Stalling(10))
    threading.Timer(0.4, go_on.set).start()
    run(roles, RunStatistics(), stop, lock_step=False, duration_s=0.3)
    assert stop.reason == "the time is up"
    assert stalled.is_set()
    assert hand.down == 0, "without a new picture the button must not stay down"


def test_stop_ends_the_run_within_one_frame() -> None:
    roles, hand, stop = active(Frames(1000))

    class Stopping(Finder):
        def detect(self, frame):
            if frame.index == 5:
                roles.interlock.panic("enough")
            return super().detect(frame)

    roles.detector = Stopping()
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=True, duration_s=None)
    assert (statistics.frames, len(hand.actions), stop.reason) == (6, 5, "enough")


@pytest.mark.parametrize("lock_step", [True, False])
def test_what_the_capture_raises_reaches_the_caller(lock_step: bool) -> None:
    class Breaking(Frames):
        def grab(self):
            if self.given == 2:
                raise OSError("the cable")
            return super().grab()

    roles, _, stop = active(Breaking(5, period_s=0.01))
    statistics = RunStatistics()
    with pytest.raises(PluginError, match=r"the capture: grab raised OSError: the cable \(test_loop.py:"):
        run(roles, statistics, stop, lock_step=lock_step, duration_s=None)
    assert statistics.frames >= 1
    assert statistics.ended_ns >= statistics.started_ns > 0


def test_duplicates_are_counted() -> None:
    class Twice(Frames):
        def grab(self):
            given = super().grab()
            if given is not None:
                given.pixels = np.full_like(given.pixels, given.index // 2)
            return given

    roles, _, stop = active(Twice(10))
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=True, duration_s=None)
    assert statistics.duplicates == 5


class Blocking:
    def __init__(self) -> None:
        self.seen = 0
        self.go_on = threading.Event()

    def observe(self, event: FrameEvent) -> None:
        self.go_on.wait(20)
        self.seen += 1


def test_an_observer_that_blocks_loses_events_and_delays_nothing() -> None:
    blocking = Blocking()
    observers = ObserverQueue([("blocking", blocking)], wants_pixels=True, wait=False)
    roles, _, stop = active(Frames(100, period_s=0.001), observers=observers)
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=False, duration_s=None)
    assert statistics.frames > 20
    assert observers.dropped == statistics.frames - PICTURE_CAPACITY - 1
    blocking.go_on.set()
    observers.close()


def test_an_observer_that_raises_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Raising:
        def observe(self, event: FrameEvent) -> None:
            raise ValueError("disk")

    kept: list[FrameEvent] = []

    class Keeping:
        def observe(self, event: FrameEvent) -> None:
            kept.append(event)

    observers = ObserverQueue([("bad", Raising()), ("good", Keeping())], wants_pixels=False, wait=True)
    roles, _, stop = active(Frames(30), observers=observers)
    run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)
    observers.close()
    assert observers.failed == {"bad": 30}
    assert caplog.text.count("observer bad failed: ValueError: disk") == 1
    assert [event.frame.index for event in kept] == list(range(30))
    assert all(event.sent and event.target is not None and event.pixels is None for event in kept)


def test_lock_step_waits_for_observers_so_that_none_misses_a_frame() -> None:
    kept: list[tuple[int, int]] = []

    class Slow:
        def observe(self, event: FrameEvent) -> None:
            time.sleep(0.002)
            assert event.pixels is not None
            kept.append((event.frame.index, int(event.pixels[0, 0, 0])))

    observers = ObserverQueue([("slow", Slow())], wants_pixels=True, wait=True)
    roles, _, stop = active(Frames(50), observers=observers)
    run(roles, RunStatistics(), stop, lock_step=True, duration_s=None)
    observers.close()
    assert kept == [(i, i) for i in range(50)]


def test_a_capture_on_demand_grabs_only_when_the_loop_is_ready() -> None:
    class Screen(Frames):
        on_demand = True

    screen, finder = Screen(10_000), Finder(delay_s=0.01)
    roles, _, stop = active(screen, finder)
    statistics = RunStatistics()
    run(roles, statistics, stop, lock_step=False, duration_s=0.4)
    assert 10 < statistics.frames <= 40
    assert statistics.dropped == 0
    assert screen.given <= statistics.frames + 1


def test_the_slot_keeps_only_the_newest() -> None:
    slot = Slot()
    for i in range(4):
        slot.put(frame(i))
    newest = slot.take(0.0)
    assert newest is not None
    assert newest.index == 3
    assert slot.dropped == 3
    assert slot.take(0.0) is None
    slot.put(frame(4))
    slot.end()
    assert not slot.ended
    assert slot.take(0.0) is not None
    assert slot.ended


@pytest.mark.parametrize("error", [None, OSError("the screen is gone")])
def test_frames_go_from_one_thread_to_another_in_order_and_the_last_arrives_before_the_end(error) -> None:
    slot, count, taken = Slot(), 3000, []

    def grabs() -> None:
        for i in range(count):
            slot.put(frame(i))
        slot.end(error)

    thread = threading.Thread(target=grabs)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        thread.start()
        raised = 0
        while not slot.ended and raised < 2:
            try:
                newest = slot.take(5.0)
            except OSError:
                raised += 1
            else:
                assert newest is not None or slot.ended, "nobody woke the one that waits"
                taken += [] if newest is None else [newest.index]
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert taken == sorted(set(taken))
    assert taken[-1] == count - 1
    assert len(taken) + slot.dropped == count
    assert raised == (2 if error else 0), "at every call"


def test_a_wish_for_a_frame_is_heard_once_and_stands_until_it_is_there() -> None:
    slot = Slot()
    assert not slot.asked(0.0)
    slot.want()
    slot.want()
    assert slot.asked(0.0)
    slot.want()
    assert not slot.asked(0.0), "it is being grabbed"
    slot.put(frame(0))
    slot.want()
    assert not slot.asked(0.0), "there is one"
    assert slot.take(0.0) is not None
    slot.want()
    assert slot.asked(0.0)
