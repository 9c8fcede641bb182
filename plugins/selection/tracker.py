"""Selection `tracker`: as `best`, with ids across frames by the package `trackers` (ByteTrack, OC-SORT, SORT).

The boxes are tracked where they would be if the view had never turned: when the agent turns, everything in the picture
moves, and a tracker that is not told takes each target for another.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agent.errors import UserError
from agent.hookspecs import Context, Maker, hookimpl
from agent.types import Detections, Frame, Target
from plugins.selection import best

RATE = 30.0
"""The frames a second in which the package counts its lost tracks."""


class Settings(best.Settings):
    """As `best`, and how to tell targets from each other."""

    method: Literal["bytetrack", "ocsort", "sort"] = Field("bytetrack", description="The tracker.")
    lost_ms: float = Field(500.0, ge=0, le=10_000, description="A target that is not found keeps its id for so long.")
    min_iou: float = Field(0.1, ge=0, le=1, description="How much a box must overlap where its track expects it.")


class TrackerSelection:
    """Keeps to its target by its id; where that is lost, it takes the best.

    :raises UserError: the package is missing, or a class in `classes` is not one of the detector's.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        _check(settings, context)
        import supervision
        import trackers

        self._make = {
            "bytetrack": trackers.ByteTrackTracker,
            "ocsort": trackers.OCSORTTracker,
            "sort": trackers.SORTTracker,
        }[settings.method]
        self._detections = supervision.Detections
        self._settings = settings
        self._choice = best.Choice(settings, context)
        self._near = best.Near(settings.same_px)
        self._episode = -1

    def _begin(self, episode: int) -> None:
        s = self._settings
        options: dict[str, Any] = {
            "lost_track_buffer": round(s.lost_ms / 1e3 * RATE),
            "frame_rate": RATE,
            "minimum_consecutive_frames": 1,
            "minimum_iou_threshold": s.min_iou,
        }
        # What the detector gives counts: its own threshold is where to leave out what is doubtful.
        if s.method != "ocsort":
            options["track_activation_threshold"] = 0.0
        if s.method != "sort":
            options["high_conf_det_threshold"] = 0.0
        self._tracker = self._make(**options)
        self._episode, self._id, self._at_ns = episode, -1, 0
        self._start_ns = -1

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        """Return the target, or None when no detection counts."""
        if frame.episode != self._episode:
            self._begin(frame.episode)
        self._near.begin(frame.episode)
        choice = self._choice
        steady = choice.steady(detections, frame)
        ids = self._ids(detections, steady, detections.at_ns or frame.at_ns)
        if not len(detections):
            return None
        points, cost = choice.costs(detections, frame)
        # By its place where it has no id: a tracker gives none to what it has seen once.
        same = np.flatnonzero(ids == self._id).tolist() if self._id >= 0 else []
        which = choice.cheapest(cost, same[0] if same else self._near.find(steady))
        if which < 0:
            return None
        self._id = int(ids[which])
        self._near.keep(steady[which])
        return choice.target(detections, which, points, frame)

    def _ids(self, found: Detections, steady: NDArray[np.float32], at_ns: int) -> NDArray[np.int64]:
        """Return each detection's id; -1 where it has none."""
        ids = np.full(len(found), -1)
        if self._start_ns < 0:
            self._start_ns = at_ns
        if at_ns <= self._at_ns:  # an older picture: it tells nothing of what came after
            return ids
        self._at_ns = at_ns
        tracked = self._tracker.update(
            self._detections(
                xyxy=steady,
                confidence=found.confidence,
                class_id=found.class_id,
                data={"place": np.arange(len(found))},
            ),
            timestamp=(at_ns - self._start_ns) / 1e9,
        )
        if len(tracked):
            ids[tracked.data["place"]] = tracked.tracker_id
        return ids


def _check(settings: Settings, context: Context) -> None:
    if find_spec("trackers") is None:
        raise UserError(
            "the selection `tracker` needs the package trackers, which is not installed: start with `uv run --extra "
            "track agent.py ...`, or use the selection `best`"
        )


@hookimpl
def reticle_selection() -> Maker:
    """Offer `tracker`."""
    return Maker("tracker", TrackerSelection, Settings, "as best, with ids across frames (extra track)", check=_check)
