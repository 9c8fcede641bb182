import threading
import time
from dataclasses import replace

import pytest

from agent.aim import AimController, AimSettings
from agent.capture_thread import Slot
from agent.loop import Parts, Tally, run
from agent.observers import PICTURES, ObserverQueue
from agent.safety import Interlock, StopFlag
from agent.types import FrameEvent
from plugins.guard.staleness import Settings as StalenessSettings
from plugins.guard.staleness import StalenessGuard
from plugins.selection.nearest import NearestSelection, Settings
from tests.agent.makes import Finder, Frames, Hand, context, detections, frame


def parts(capture, detector=None, observers=None, hand=None) -> tuple[Parts, Hand, StopFlag]:
    stop, hand = StopFlag(), hand or Hand()
    made = Parts(
        capture,
        detector or Finder(),
        NearestSelection(Settings(), context()),
        AimController(AimSettings(gain=0.5, fire="hold")),
        Interlock(hand, stop),
        observers or ObserverQueue([], wants_pixels=False, wait=False),
    )
    return made, hand, stop


def test_lock_step_works_on_every_frame() -> None:
    finder = Finder()
    made, hand, stop = parts(Frames(50), finder)
    tally = Tally()
    run(made, tally, stop, lock_step=True, duration_s=None)
    assert finder.seen == list(range(50))
    assert (tally.frames, tally.dropped, len(hand.actions)) == (50, 0, 50)
    assert stop.reason == "end of the frames"
    assert tally.stages["infer"].count == tally.end_to_end.count == tally.frame_age.count == 50


def test_the_same_frames_give_the_same_decisions() -> None:
    digests = []
    for count in (40, 40, 41):
        made, _, stop = parts(Frames(count))
        tally = Tally()
        run(made, tally, stop, lock_step=True, duration_s=None)
        digests.append(tally.decisions)
    assert digests[0] == digests[1] != digests[2]


def test_live_takes_the_newest_frame_and_counts_the_rest() -> None:
    finder = Finder(delay_s=0.03)
    made, _, stop = parts(Frames(60, period_s=0.002), finder)
    tally = Tally()
    run(made, tally, stop, lock_step=False, duration_s=None)
    assert finder.seen == sorted(set(finder.seen))
    assert finder.seen[-1] == 59
    assert tally.frames + tally.dropped == 60
    assert tally.dropped > 10


class StandsStill(Finder):
    """Finds one box, always in the same place."""

    def detect(self, frame):
        return detections((45, 10, 55, 20))


class SlowAtTimes(Finder):
    """Takes ten times as long on every 20th frame."""

    def detect(self, frame):
        self.delay_s = 0.1 if len(self.seen) % 20 == 19 else 0.01
        return super().detect(frame)


def test_a_detector_that_is_slow_at_times_drops_frames_and_acts_on_none_that_is_old() -> None:
    made, hand, stop = parts(Frames(400, period_s=0.005), SlowAtTimes())
    made.interlock.guarded_by([("staleness", StalenessGuard(StalenessSettings(max_age_ms=80), context()))])
    tally = Tally()
    run(made, tally, stop, lock_step=False, duration_s=None)
    slow = len(made.detector.seen) // 20
    assert slow >= 1
    assert tally.frames + tally.dropped == 400
    assert tally.dropped >= 5 * slow, "those that came while it was slow"
    assert made.interlock.vetoes["staleness"] >= slow
    assert tally.frame_age.max_ns <= 80_000_000, "nothing older was acted on"
    assert len(hand.actions) >= tally.frames - made.interlock.vetoes["staleness"]


def test_what_moves_nothing_is_not_in_flight() -> None:
    """In a dry run the picture stays as it is, and an aim that knows what it sent must not believe that it turned."""
    calibrated = AimSettings(method="predictive", gain=0.4, fov_deg=90, degrees_per_count=0.05, vertical=False)
    for moves, expected in ((False, 1), (True, 2)):
        made, hand, stop = parts(Frames(30), StandsStill())
        made = replace(made, controller=AimController(calibrated), moves=moves)
        run(made, Tally(), stop, lock_step=True, duration_s=None)
        assert min(2, len({action.dx for action in hand.actions[5:]})) == expected


def test_a_capped_loop_rests_and_takes_the_newest() -> None:
    finder = Finder()
    made, _, stop = parts(Frames(60, period_s=0.004), finder)
    tally = Tally()
    run(made, tally, stop, lock_step=False, duration_s=None, max_fps=50)
    assert 8 <= tally.frames <= 20
    assert tally.frames + tally.dropped == 60
    assert finder.seen == sorted(set(finder.seen))


def test_a_network_that_others_slow_down_is_counted() -> None:
    class Contended(Finder):
        def detect(self, frame):
            self.delay_s = 0.02 if frame.index >= 150 else 0.002
            return super().detect(frame)

    made, _, stop = parts(Frames(160), Contended())
    tally = Tally()
    run(made, tally, stop, lock_step=True, duration_s=None)
    assert 1e6 < tally.alone_ns < 2e7
    assert 8 <= tally.contended <= 20


def test_live_ends_in_time_although_the_capture_stalls() -> None:
    class Stalling(Frames):
        def grab(self):
            if self.given == 3:
                stalled.set()
                go_on.wait(10)
                return None
            return super().grab()

    stalled, go_on = threading.Event(), threading.Event()
    made, hand, stop = parts(Stalling(10))
    threading.Timer(0.4, go_on.set).start()
    run(made, Tally(), stop, lock_step=False, duration_s=0.3)
    assert stop.reason == "the time is up"
    assert stalled.is_set()
    assert hand.down == 0, "without a new picture the button must not stay down"


def test_stop_ends_the_run_within_one_frame() -> None:
    made, hand, stop = parts(Frames(1000))

    class Stopping(Finder):
        def detect(self, frame):
            if frame.index == 5:
                made.interlock.panic("enough")
            return super().detect(frame)

    made.detector = Stopping()
    tally = Tally()
    run(made, tally, stop, lock_step=True, duration_s=None)
    assert (tally.frames, len(hand.actions), stop.reason) == (6, 5, "enough")


@pytest.mark.parametrize("lock_step", [True, False])
def test_what_the_capture_raises_reaches_the_caller(lock_step: bool) -> None:
    class Breaking(Frames):
        def grab(self):
            if self.given == 2:
                raise OSError("the cable")
            return super().grab()

    made, _, stop = parts(Breaking(5, period_s=0.01))
    tally = Tally()
    with pytest.raises(OSError, match="the cable"):
        run(made, tally, stop, lock_step=lock_step, duration_s=None)
    assert tally.frames >= 1
    assert tally.ended_ns >= tally.started_ns > 0


def test_duplicates_are_counted() -> None:
    class Twice(Frames):
        def grab(self):
            given = super().grab()
            if given is not None:
                given.pixels[:] = given.index // 2
            return given

    made, _, stop = parts(Twice(10))
    tally = Tally()
    run(made, tally, stop, lock_step=True, duration_s=None)
    assert tally.duplicates == 5


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
    made, _, stop = parts(Frames(100, period_s=0.001), observers=observers)
    tally = Tally()
    run(made, tally, stop, lock_step=False, duration_s=None)
    assert tally.frames > 20
    assert observers.dropped == tally.frames - PICTURES - 1
    blocking.go_on.set()
    observers.close()


def test_an_observer_that_raises_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Raising:
        def observe(self, event: FrameEvent) -> None:
            raise ValueError("disk")

    kept: list[FrameEvent] = []

    class Keeping:
        def observe(self, event: FrameEvent) -> None:
            kept.append(event)

    observers = ObserverQueue([("bad", Raising()), ("good", Keeping())], wants_pixels=False, wait=True)
    made, _, stop = parts(Frames(30), observers=observers)
    run(made, Tally(), stop, lock_step=True, duration_s=None)
    observers.close()
    assert observers.failed == {"bad": 30}
    assert capsys.readouterr().err.count("observer bad failed: ValueError: disk") == 1
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
    made, _, stop = parts(Frames(50), observers=observers)
    run(made, Tally(), stop, lock_step=True, duration_s=None)
    observers.close()
    assert kept == [(i, i) for i in range(50)]


def test_a_capture_on_demand_grabs_only_when_the_loop_is_ready() -> None:
    class Screen(Frames):
        on_demand = True

    screen, finder = Screen(10_000), Finder(delay_s=0.01)
    made, _, stop = parts(screen, finder)
    tally = Tally()
    run(made, tally, stop, lock_step=False, duration_s=0.4)
    assert 10 < tally.frames <= 40
    assert tally.dropped == 0
    assert screen.given <= tally.frames + 1


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
