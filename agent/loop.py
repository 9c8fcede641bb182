"""The loop: frame, detections, target, action, one after the other, with the time of each stage.

Live, the newest frame wins: a thread grabs ahead into a slot of one frame. In lock-step the capture waits for the loop,
so that the same profile, seed and footage decide the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from agent.border import Border
from agent.capture_thread import CaptureThread, Slot
from agent.ego_motion import MotionEstimator
from agent.history import CommandHistory
from agent.interlock import Interlock, StopFlag
from agent.observers import ObserverQueue
from agent.roles import Capture, Controller, Detector, Selection, Stateful
from agent.statistics import RunStatistics
from agent.types import IDLE, Frame, FrameEvent, Outcome

END_OF_FRAMES = "end of the frames"

HELD_BACK, DRY, MOVED = Outcome(False, False), Outcome(True, False), Outcome(True, True)

Clock = Callable[[], int]
"""Gives nanoseconds; `time.perf_counter_ns` in every run, another in tests."""


@dataclass
class ActiveRoles:
    """What the loop calls, each role resolved once.

    :param degrees_per_count: of each axis; None where it is not known, and then no motion is remembered.
    :param moves: whether what is sent moves what the capture shows: not in a dry run.
    :param estimator: keeps the mouse's scale and delay up to date; None leaves them.
    :param border: checks what plugins return.
    """

    capture: Capture
    detector: Detector
    selection: Selection
    controller: Controller
    interlock: Interlock
    observers: ObserverQueue
    history: CommandHistory
    border: Border
    degrees_per_count: tuple[float, float] | None = None
    moves: bool = True
    estimator: MotionEstimator | None = None
    clock: Clock = time.perf_counter_ns
    _beginners: list[Callable[[int], None]] = field(default_factory=list, init=False)
    _episode: int | None = field(default=None, init=False)

    def begin(self, episode: int) -> None:
        """Let everything that keeps state forget it: the one place that knows where an episode begins."""
        if self._episode is None:
            stateful = (self.detector, self.selection, self.controller)
            self._beginners = [
                self.history.begin,
                *([self.estimator.begin] if self.estimator else []),
                *(role.begin for role in stateful if isinstance(role, Stateful)),
            ]
        self._episode = episode
        for begin in self._beginners:
            begin(episode)


def run(
    roles: ActiveRoles,
    statistics: RunStatistics,
    stop: StopFlag,
    lock_step: bool,
    duration_s: float | None,
    patience_s: float = 0.5,
    max_fps: float | None = None,
    max_share: float | None = None,
) -> None:
    """Run until the frames end, the time is up or `stop` is set, and count into `statistics`.

    :param patience_s: live, buttons are released when there has been no new picture for so long.
    :param max_fps: live, work on no more frames a second; those in between are dropped.
    :param max_share: live, work for no more than this part of the time: after a frame rest in proportion to it.

    `stop` then holds the reason. Buttons are the caller's to release: the interlock's `disarm` does it.

    :raises UserError: a plugin failed; what was counted until then stands in `statistics`.
    """
    statistics.started_ns = roles.clock()
    until_ns = statistics.started_ns + int(duration_s * 1e9) if duration_s else None
    try:
        if lock_step:
            _lock_step(roles, until_ns, stop, statistics)
        else:
            pace = Pace(int(1e9 / max_fps) if max_fps else 0, 1 / max_share if max_share else 1.0)
            _live(roles, until_ns, stop, statistics, int(patience_s * 1e9), pace)
    finally:
        statistics.ended_ns = roles.clock()


@dataclass(frozen=True)
class Pace:
    """How long a frame's turn lasts: `period_ns` at the least, and `stretch` times as long as the work on it."""

    period_ns: int
    stretch: float

    def rest_ns(self, taken_ns: int, done_ns: int) -> int:
        """Return how long to rest after a frame that was taken and done then; 0 or less is not at all."""
        worked = done_ns - taken_ns
        return max(self.period_ns, int(worked * self.stretch)) - worked


def _lock_step(roles: ActiveRoles, until_ns: int | None, stop: StopFlag, statistics: RunStatistics) -> None:
    grab = roles.capture.grab
    while not _finished(roles.clock, until_ns, stop):
        try:
            frame = grab()
        except Exception as error:
            raise roles.border.raised("capture", "grab", error) from error
        if frame is None:
            stop.set(END_OF_FRAMES)
            return
        _step(roles, frame, statistics, live=False)


def _live(
    roles: ActiveRoles,
    until_ns: int | None,
    stop: StopFlag,
    statistics: RunStatistics,
    patience_ns: int,
    pace: Pace,
) -> None:
    slot = Slot()
    thread = CaptureThread(roles.capture, slot)
    seen_ns = roles.clock()
    try:
        while not _finished(roles.clock, until_ns, stop):
            if thread.on_demand:
                slot.want()
            try:
                frame = slot.take(timeout_s=0.05)
            except Exception as error:
                raise roles.border.raised("capture", "grab", error) from error
            if frame is not None:
                _step(roles, frame, statistics, live=True)
                seen_ns = frame.acted_ns
                if (rest_ns := pace.rest_ns(frame.taken_ns, seen_ns)) > 0:
                    _rest(roles, seen_ns + rest_ns, patience_ns, until_ns, stop)
            elif slot.ended:
                stop.set(END_OF_FRAMES)
            else:
                roles.interlock.beat(now := roles.clock())
                if now - seen_ns > patience_ns:  # what was decided on the last picture no longer holds
                    roles.interlock.idle()
    finally:
        roles.interlock.idle()  # before waiting for a grab under way
        thread.close()
        statistics.dropped = slot.dropped


def _rest(roles: ActiveRoles, end_ns: int, patience_ns: int, until_ns: int | None, stop: StopFlag) -> None:
    """Sleep until then, in parts that the watchdog bears and after which the run may end."""
    if end_ns - roles.clock() > patience_ns:  # by then what was decided no longer holds
        roles.interlock.idle()
    while (left_ns := end_ns - roles.clock()) > 0 and not _finished(roles.clock, until_ns, stop):
        time.sleep(min(left_ns, patience_ns // 4) / 1e9)
        roles.interlock.beat(roles.clock())


def _finished(clock: Clock, until_ns: int | None, stop: StopFlag) -> bool:
    if until_ns is not None and clock() >= until_ns:
        stop.set("the time is up")
    return bool(stop)


def _step(roles: ActiveRoles, frame: Frame, statistics: RunStatistics, live: bool) -> None:
    now, border, interlock = roles.clock, roles.border, roles.interlock
    role, method = "capture", "grab"  # where an exception comes from, for its sentence
    try:
        border.frame(frame)
        frame.taken_ns = now()
        interlock.beat(frame.taken_ns)
        role, method = "detector", "detect"
        if frame.episode != roles._episode:
            roles.begin(frame.episode)
        detections = roles.detector.detect(frame)
        border.detections(detections, frame)
        frame.decoded_ns = now()
        estimator = roles.estimator
        if estimator is not None:
            estimator.see(frame)
        role, method = "selection", "select"
        target = roles.selection.select(detections, frame)
        border.target(target)
        role, method = "controller", "decide"
        action = roles.controller.decide(target, frame)
        border.action(action)
        frame.selected_ns = now()
    except Exception as error:
        raise border.raised(role, method, error) from error
    submitted = interlock.submit(action, frame)
    frame.acted_ns = now()
    outcome = frame.recorded or (HELD_BACK if not submitted else MOVED if roles.moves else DRY)
    frame.sent_ns = outcome.sent_ns or (frame.acted_ns if live else frame.at_ns)
    roles.history.lags(frame.sent_ns - frame.at_ns)
    if outcome.moved and roles.degrees_per_count is not None:
        x, y = roles.degrees_per_count
        by_x, by_y = roles.history.scale
        roles.history.add(frame.sent_ns, action.dx * x * by_x, action.dy * y * by_y)
        if estimator is not None:
            estimator.sent(action.dx, action.dy, frame.sent_ns)
    try:
        roles.controller.sent(action if outcome.sent or action.idle else IDLE, frame)
    except Exception as error:
        raise border.raised("controller", "sent", error) from error
    statistics.count(frame, detections, target, action, submitted)
    observers = roles.observers
    if observers.active:
        pixels = None
        if observers.wants_pixels:
            pixels = frame.pixels.copy()
            pixels.flags.writeable = False  # every observer gets the same
        veto = interlock.last_veto
        observers.send(FrameEvent(frame, detections, target, action, outcome.sent, outcome.moved, veto, pixels))
