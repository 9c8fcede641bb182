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

from agent.context import Context
from agent.factories import SelectionFactory
from agent.hookspecs import hookimpl
from agent.types import Box, Detections, Frame, Target
from core.errors import UserError
from plugins.selection import best, nearest

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

        self._kind = {
            "bytetrack": trackers.ByteTrackTracker,
            "ocsort": trackers.OCSORTTracker,
            "sort": trackers.SORTTracker,
        }[settings.method]
        self._detections = supervision.Detections
        self._settings = settings
        self._choice = best.Choice(settings, context)
        self._near = best.Near(settings.same_px)
        self.begin(0)

    def begin(self, episode: int) -> None:
        """Forget all tracks: a new episode begins."""
        self._choice.begin()
        self._near.begin()
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
        self._tracker = self._kind(**options)
        self._at_ns, self._start_ns = 0, -1
        self._id = self._other = -1
        self._seen_ns = 0

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        """Return the target, or None when no detection counts."""
        if not len(detections):
            return None
        choice = self._choice
        at_ns = detections.at_ns or frame.at_ns
        steady = choice.steady(detections, frame)
        points, costs = choice.costs(detections, frame)
        ids = self._ids(detections, np.flatnonzero(np.isfinite(costs)), steady, at_ns)
        which = choice.cheapest(costs, self._last(ids, steady, costs))
        if which < 0:
            return None
        self._remember(int(ids[which]), bool((ids == self._id).any()), at_ns)
        self._near.take(steady[which])
        return choice.target(detections, which, points, frame)

    def _last(self, ids: NDArray[np.int64], steady: list[Box], costs: list[float]) -> int:
        """Return which detection is the target: by its id; else, while that is lost, the one taken in its place."""
        same = np.flatnonzero(ids == self._id).tolist() if self._id >= 0 else []
        if same:
            return int(same[0])
        near = self._near.find(steady, costs)
        # By its place only where that is no other's: a tracker gives no id to what it has seen once.
        return near if near >= 0 and (ids[near] < 0 or self._other in (-1, ids[near])) else -1

    def _remember(self, chosen: int, present: bool, at_ns: int) -> None:
        """Take the chosen one's id for the target's, unless the target is lost and may yet be found again.

        :param present: whether the target is in this picture, and so another was better by the margin.
        """
        lost_for = at_ns - self._seen_ns
        if present or self._id < 0 or lost_for > self._settings.lost_ms * 1e6:
            self._id, self._seen_ns = chosen, at_ns
        self._other = chosen

    def _ids(self, found: Detections, counted: NDArray[np.intp], steady: list[Box], at_ns: int) -> NDArray[np.int64]:
        """Return each detection's id; -1 where it has none, or does not count."""
        ids = np.full(len(found), -1)
        if self._start_ns < 0:
            self._start_ns = at_ns
        if at_ns <= self._at_ns or not len(counted):  # an older picture tells nothing of what came after
            return ids
        self._at_ns = at_ns
        tracked = self._tracker.update(
            self._detections(
                xyxy=np.array(steady, np.float32)[counted],
                confidence=found.confidence[counted],
                class_id=found.class_id[counted],
                data={"place": counted},
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
    nearest.check(settings, context)


@hookimpl
def reticle_selection() -> SelectionFactory:
    """Offer `tracker`."""
    return SelectionFactory(
        "tracker", TrackerSelection, Settings, "as best, with ids across frames (extra track)", check=_check
    )
