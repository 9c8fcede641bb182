"""What a run counts: frames, latencies, detections, and a digest of its decisions."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from typing import Any

from agent.latency_histogram import STAGES, Histogram
from agent.types import Action, Detections, Frame, Target

GRID_PX = 8
"""Two frames in a row count as duplicates when every pixel at each GRID_PX-th row and column agrees."""

SETTLED = 100
"""Frames after which a network's time is known."""

_DECISION = struct.Struct("<qiffffffqqqqq")


def _digest() -> Any:
    return hashlib.blake2b(digest_size=16)


@dataclass
class RunStatistics:
    """Counted by the loop, a frame at a time."""

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
    cropped: int = 0
    """Frames of which the detector looked at a part; contention is that of the others."""
    contended: int = 0
    """Frames after them whose inference took more than twice as long: something else took the network's processor."""
    episode_decisions: dict[int, str] = field(default_factory=dict)
    """A digest of each finished episode's decisions, by its number."""
    _first: list[int] = field(default_factory=list)
    _all: Any = field(default_factory=_digest)
    _episode: Any = field(default_factory=_digest)
    _found: Any = field(default_factory=_digest, init=False)
    _number: int = 0
    _grid: bytes = b""

    @property
    def decisions(self) -> str:
        """A digest of every frame's target and action, in order: equal runs decided the same."""
        return str(self._all.hexdigest())

    @property
    def found(self) -> str:
        """A digest of every frame's detections, in order."""
        return str(self._found.hexdigest())

    def decisions_of(self, episode: int) -> str | None:
        """Return the same of one episode; None when it had no frame."""
        if episode == self._number:
            return str(self._episode.hexdigest())
        return self.episode_decisions.get(episode)

    def count(self, frame: Frame, detections: Detections, target: Target | None, action: Action, sent: bool) -> None:
        """Take one finished frame in."""
        self.frames += 1
        stages = self.stages
        stages["grab"].record(frame.grabbed_ns - frame.grab_ns)
        infer_ns = (frame.inferred_ns or frame.decoded_ns) - (frame.preprocessed_ns or frame.taken_ns)
        if frame.cropped:  # takes a part of the time, which says nothing about contention
            self.cropped += 1
        elif self.alone_ns:
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
        grid = frame.pixels[::GRID_PX, ::GRID_PX].tobytes()
        self.duplicates += grid == self._grid
        self._grid = grid
        self._found.update(detections.xyxy.tobytes())
        self._found.update(detections.confidence.tobytes())
        self._found.update(detections.class_id.tobytes())
        self._found.update(b"|")
        self._decided(frame, target, action)

    def _decided(self, frame: Frame, target: Target | None, action: Action) -> None:
        if target is None:
            what = (-1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        else:
            what = (target.class_id, *target.box, target.aim_x, target.aim_y)
        x, y = action.point or (-1, -1)
        decision = _DECISION.pack(frame.index, *what, action.dx, action.dy, action.buttons, x, y)
        self._all.update(decision)
        if frame.episode != self._number:
            self.episode_decisions[self._number] = str(self._episode.hexdigest())
            self._number, self._episode = frame.episode, _digest()
        self._episode.update(decision)
