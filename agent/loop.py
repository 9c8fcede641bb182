"""The loop: frame, detections, target, action, one after the other, with the time of each stage.

Live, the newest frame wins: a thread grabs ahead into a slot of one frame. In lock-step the capture waits
for the loop, so that the same profile, seed and footage decide the same.
"""

from __future__ import annotations

import hashlib
import struct
import time
from dataclasses import dataclass, field
from typing import Any

from agent.capture_thread import CaptureThread, Slot
from agent.observers import ObserverQueue
from agent.roles import Capture, Controller, Detector, Selection
from agent.safety import Interlock, StopFlag
from agent.timing import STAGES, Histogram
from agent.types import Action, Detections, Frame, FrameEvent, Target

END_OF_FRAMES = "end of the frames"

LATTICE_PX = 8
"""Two frames in a row count as duplicates when every pixel at each LATTICE_PX-th row and column agrees."""

SETTLED = 100
"""Frames after which a network's time is known."""

_DECISION = struct.Struct("<qiffffffqqqqq")


@dataclass
class Parts:
    """All that the loop calls, each resolved once."""

    capture: Capture
    detector: Detector
    selection: Selection
    controller: Controller
    interlock: Interlock
    observers: ObserverQueue
    moves: bool = True
    """Whether what is sent can move what the capture shows: not in a dry run."""


@dataclass
class Tally:
    """What the loop counted."""

    frames: int = 0
    dropped: int = 0
    duplicates: int = 0
    stages: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in STAGES})
    end_to_end: Histogram = field(default_factory=Histogram)
    frame_age: Histogram = field(default_factory=Histogram)
    started_ns: int = 0
    ended_ns: int = 0
    detections: int = 0
    frames_with_detections: int = 0
    classes: dict[int, int] = field(default_factory=dict)
    alone_ns: int = 0
    """The median of the first SETTLED inferences, what contention is measured against."""
    contended: int = 0
    """Frames after them whose inference took more than twice as long: something else took the network's processor."""
    _first: list[int] = field(default_factory=list)
    _digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    _lattice: bytes = b""

    @property
    def decisions(self) -> str:
        """A digest of every frame's target and action, in order: equal runs decided the same."""
        return self._digest.hexdigest()

    def count(self, frame: Frame, detections: Detections, target: Target | None, action: Action, sent: bool) -> None:
        """Take one finished frame in."""
        self.frames += 1
        stages = self.stages
        stages["grab"].record(frame.grabbed_ns - frame.grab_ns)
        infer_ns = (frame.inferred_ns or frame.decoded_ns) - (frame.preprocessed_ns or frame.taken_ns)
        if self.alone_ns:
            self.contended += infer_ns > 2 * self.alone_ns
        else:
            self._first.append(infer_ns)
            if len(self._first) == SETTLED:
                self.alone_ns = max(1, sorted(self._first)[SETTLED // 2])
        stages["infer"].record(infer_ns)
        if frame.preprocessed_ns:  # else a detector that does not time its stages: all of it is inference
            stages["preprocess"].record(frame.preprocessed_ns - frame.taken_ns)
            stages["postprocess"].record(frame.decoded_ns - frame.inferred_ns)
        stages["select"].record(frame.selected_ns - frame.decoded_ns)
        if sent:
            stages["act"].record(frame.acted_ns - frame.selected_ns)
            self.frame_age.record(frame.selected_ns - frame.grab_ns)
        self.end_to_end.record(frame.acted_ns - frame.grab_ns)
        if found := len(detections):
            self.detections += found
            self.frames_with_detections += 1
            for class_id in detections.class_id.tolist():
                self.classes[class_id] = self.classes.get(class_id, 0) + 1
        lattice = frame.pixels[::LATTICE_PX, ::LATTICE_PX].tobytes()
        self.duplicates += lattice == self._lattice
        self._lattice = lattice
        if target is None:
            what = (-1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        else:
            what = (target.class_id, *target.box, target.aim_x, target.aim_y)
        x, y = action.point or (-1, -1)
        self._digest.update(_DECISION.pack(frame.index, *what, action.dx, action.dy, action.buttons, x, y))


def run(
    parts: Parts,
    tally: Tally,
    stop: StopFlag,
    lock_step: bool,
    duration_s: float | None,
    patience_s: float = 0.5,
    max_fps: float | None = None,
) -> None:
    """Run until the frames end, the time is up or `stop` is set, and count into `tally`.

    :param max_fps: live, work on no more frames a second; those in between are dropped.
    :param patience_s: live, buttons go up when there has been no new picture for so long.
    `stop` then holds the reason. Buttons are the caller's to release: the interlock's `disarm` does it.

    :raises Exception: whatever a capture, detector, selection or actuation raised; what was counted until
        then stands in `tally`.
    """
    tally.started_ns = time.perf_counter_ns()
    until_ns = tally.started_ns + int(duration_s * 1e9) if duration_s else None
    try:
        if lock_step:
            _lock_step(parts, until_ns, stop, tally)
        else:
            _live(parts, until_ns, stop, tally, int(patience_s * 1e9), int(1e9 / max_fps) if max_fps else 0)
    finally:
        tally.ended_ns = time.perf_counter_ns()


def _lock_step(parts: Parts, until_ns: int | None, stop: StopFlag, tally: Tally) -> None:
    grab = parts.capture.grab
    while not _finished(until_ns, stop):
        frame = grab()
        if frame is None:
            stop.set(END_OF_FRAMES)
            return
        _step(parts, frame, tally)


def _live(parts: Parts, until_ns: int | None, stop: StopFlag, tally: Tally, patience_ns: int, period_ns: int) -> None:
    slot = Slot()
    thread = CaptureThread(parts.capture, slot)
    seen_ns = time.perf_counter_ns()
    try:
        while not _finished(until_ns, stop):
            if thread.on_demand:
                slot.want()
            frame = slot.take(timeout_s=0.05)
            if frame is not None:
                _step(parts, frame, tally)
                seen_ns = frame.acted_ns
                rest_ns = frame.taken_ns + period_ns - seen_ns
                if rest_ns > 0:  # shorter than the watchdog's patience
                    time.sleep(min(rest_ns, patience_ns // 4) / 1e9)
            elif slot.ended:
                stop.set(END_OF_FRAMES)
            else:
                parts.interlock.beat_ns = now = time.perf_counter_ns()
                if now - seen_ns > patience_ns:  # what was decided on the last picture no longer holds
                    parts.interlock.idle()
    finally:
        parts.interlock.idle()  # before waiting for a grab under way
        thread.close()
        tally.dropped = slot.dropped


def _finished(until_ns: int | None, stop: StopFlag) -> bool:
    if until_ns is not None and time.perf_counter_ns() >= until_ns:
        stop.set("the time is up")
    return bool(stop)


def _step(parts: Parts, frame: Frame, tally: Tally) -> None:
    now = time.perf_counter_ns
    interlock = parts.interlock
    interlock.beat_ns = frame.taken_ns = now()
    detections = parts.detector.detect(frame)
    frame.decoded_ns = now()
    target = parts.selection.select(detections, frame)
    action = parts.controller.act(target, frame)
    frame.selected_ns = now()
    sent = interlock.submit(action, frame)
    frame.acted_ns = now()
    if not (sent and parts.moves if frame.recorded_sent is None else frame.recorded_sent):
        parts.controller.vetoed()
    tally.count(frame, detections, target, action, sent)
    observers = parts.observers
    if observers.active:
        pixels = frame.pixels.copy() if observers.wants_pixels else None
        observers.send(FrameEvent(frame, detections, target, action, sent, interlock.last_veto, pixels))
