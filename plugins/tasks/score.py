"""What aiming is scored by: flicks as pointing (ISO 9241-9), following and switching by time and degrees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

WIDTH_OF_SD = 4.133
"""Effective width over the standard deviation of end points: 96 % of them lie within (ISO 9241-9; Soukoreff and
MacKenzie, Towards a standard for pointing device evaluation, 2004)."""
SETTLED_S = 1.0
"""What comes so long after an episode's begin counts for following a target."""


@dataclass
class Flick:
    """One movement to a target that appeared.

    :param condition: distance and height, degrees.
    :param start: where the view was; `target` where the target is, degrees.
    """

    condition: tuple[float, float]
    start: tuple[float, float]
    target: tuple[float, float]
    born_s: float
    end_deg: float | None = None
    """Where the first shot went, along the movement's axis, from the target's middle; None before it."""
    way_deg: float = 0.0
    """How far the view had gone along that axis by then."""
    movement_s: float = 0.0
    """From the target's appearance to the first shot."""
    hit_s: float | None = None
    past_deg: float = 0.0
    """The farthest beyond the target, along the axis, before it was hit."""

    def moved(self, view: tuple[float, float]) -> None:
        """Take in where the view is now."""
        self.past_deg = max(self.past_deg, self._along(view))

    def shot(self, at_s: float, view: tuple[float, float], hit: bool) -> None:
        """Take a shot in."""
        self.moved(view)
        if self.end_deg is None:
            self.end_deg = self._along(view)
            self.way_deg = self.end_deg + math.dist(self.start, self.target)
            self.movement_s = at_s - self.born_s
        if hit:
            self.hit_s = at_s - self.born_s

    def _along(self, view: tuple[float, float]) -> float:
        length = math.dist(self.start, self.target)
        axis = ((self.target[0] - self.start[0]) / length, (self.target[1] - self.start[1]) / length)
        return (view[0] - self.target[0]) * axis[0] + (view[1] - self.target[1]) * axis[1]


def throughput(flicks: Sequence[Flick], finest_deg: float) -> float | None:
    """Return the throughput of flicks, bits a second: the mean over their conditions; None where nothing was shot.

    :param finest_deg: what one mouse count turns: no spread of end points can be told that is narrower.
    """
    rates = []
    for condition in dict.fromkeys(flick.condition for flick in flicks):
        of_it = [flick for flick in flicks if flick.condition == condition and flick.end_deg is not None]
        if len(of_it) < 2:
            continue
        ends = np.array([flick.end_deg for flick in of_it])
        width = max(WIDTH_OF_SD * float(ends.std(ddof=1)), finest_deg)
        way = float(np.mean([flick.way_deg for flick in of_it]))
        difficulty = math.log2(max(0.0, way) / width + 1)
        rates.append(difficulty / float(np.mean([flick.movement_s for flick in of_it])))
    return float(np.mean(rates)) if rates else None


@dataclass
class Frames:
    """What is counted frame by frame.

    :param follows: whether there is one target that is to be followed.
    """

    follows: bool
    on_target: list[bool] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    flips: int = 0
    shots: int = 0
    hits: int = 0
    seconds: float = 0.0
    _nearest: int | None = None

    def frame(self, at_s: float, error_deg: float | None, on_target: bool, nearest: int | None) -> None:
        """Take a frame in.

        :param error_deg: from the crosshair to the nearest target; None where there is none.
        :param nearest: which target that is.
        """
        self.seconds = at_s
        if error_deg is not None and (not self.follows or at_s >= SETTLED_S):
            self.errors.append(error_deg)
            self.on_target.append(on_target)
        if nearest is not None and self._nearest is not None and nearest != self._nearest:
            self.flips += 1
        self._nearest = nearest

    def shot(self, hit: bool) -> None:
        """Take a shot in; after a hit the next target is not one that was flipped to."""
        self.shots += 1
        if hit:
            self.hits += 1
            self._nearest = None


def scores(frames: Frames, flicks: Sequence[Flick] | None, several: bool, finest_deg: float) -> dict[str, float | None]:
    """Return an episode's scores, by `settings.MEASURES`; None where the task has no such thing.

    :param flicks: of the task that is made of them.
    :param several: whether there were several targets at a time.
    """
    hits = [flick.hit_s for flick in flicks or () if flick.hit_s is not None]
    return {
        "throughput_bit_s": throughput(flicks, finest_deg) if flicks is not None else None,
        "time_on_target": float(np.mean(frames.on_target)) if frames.follows and frames.on_target else None,
        "hits_per_min": None if frames.follows or not frames.seconds else 60 * frames.hits / frames.seconds,
        "time_to_target_ms": round(1e3 * float(np.mean(hits)), 1) if hits else None,
        "aim_error_deg": float(np.mean(frames.errors)) if frames.errors else None,
        "past_deg": float(np.mean([max(0.0, flick.past_deg) for flick in flicks])) if flicks else None,
        "flips_per_s": frames.flips / frames.seconds if several and frames.seconds else None,
        "hits_per_shot": frames.hits / frames.shots if frames.shots else None,
        "timeouts": float(len(flicks) - len(hits)) if flicks is not None else None,
    }
