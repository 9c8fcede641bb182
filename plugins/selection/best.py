"""Selection `best`: what costs least by distance, size and confidence, and is kept until something is better."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agent.context import Context
from agent.factories import SelectionFactory
from agent.hookspecs import hookimpl
from agent.types import Detections, Frame, Target
from plugins.selection import nearest
from plugins.selection.patience import Patience

Strategy = Literal["nearest", "biggest", "surest"]
Weight = Annotated[float, Field(ge=0, le=100)]

CLASS_COST = 1e6
"""What each step down in class priority costs: more than all else together."""


class Settings(nearest.Settings):
    """As `nearest`, and what makes one detection better than another."""

    weights: dict[Strategy, Weight] = Field(
        {"nearest": 1.0},
        min_length=1,
        description="What counts how much: `nearest` (the way from the crosshair, in halves of the picture's width), "
        "`biggest` (less a box's mean side over the picture's height), `surest` (less the confidence).",
    )
    margin: float = Field(
        0.15, ge=0, le=100, description="How much better another target must be for the one aimed at to be left."
    )
    same_px: float = Field(
        40.0, gt=0, description="A detection this near to where the last target should be, or half its width, is it."
    )
    fov_shape: Literal["circle", "box"] = Field("circle", description="Whether `fov_px` is a radius or half a side.")


class Choice:
    """What each detection costs, and the target that the cheapest makes."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._crosshair = context.crosshair
        self._view = context.view
        self._patience = Patience(settings.patience_s, context)
        self._weights = [settings.weights.get(name, 0.0) for name in ("nearest", "biggest", "surest")]
        self._aim_points = np.array(nearest.aim_points(settings, context), np.float32)
        self._ranks: NDArray[np.float64] | None = None
        ranks = nearest.priorities(settings, context)
        if ranks is not None:
            self._ranks = np.full(len(context.names), np.inf)
            for index, rank in ranks.items():
                self._ranks[index] = rank * CLASS_COST

    def begin(self) -> None:
        """Forget what was given up: a new episode begins."""
        self._patience.begin()

    def costs(self, found: Detections, frame: Frame) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Return the aim points, (n, 2) in pixels, and what each detection costs, (n,); infinity leaves it out."""
        s = self._settings
        boxes = found.xyxy
        sides = boxes[:, 2:] - boxes[:, :2]
        parts = self._aim_points
        points = boxes[:, :2] + sides * (parts if len(parts) == 1 else parts[found.class_id])
        ahead = self._view.ahead_px(frame, found.at_ns or frame.at_ns)
        middle_x, middle_y = self.crosshair_px(frame)
        off = points - np.array((middle_x + ahead[0], middle_y + ahead[1]), np.float32)
        way = np.hypot(off[:, 0], off[:, 1])
        near, biggest, surest = self._weights
        cost = near / (frame.width / 2) * way.astype(np.float64)
        if biggest:
            cost -= biggest / frame.height * np.sqrt(sides[:, 0] * sides[:, 1])
        if surest:
            cost -= surest * found.confidence
        if s.fov_px is not None:
            cost[(way if s.fov_shape == "circle" else np.abs(off).max(axis=1)) > s.fov_px] = np.inf
        if s.min_confidence:
            cost[found.confidence < s.min_confidence] = np.inf
        if self._ranks is not None:
            cost += self._ranks[found.class_id]
        given_up = self._patience.given_up(found, frame)
        if given_up is not None:
            cost[given_up] = np.inf
        return points, cost

    def cheapest(self, cost: NDArray[np.float64], last: int) -> int:
        """Return which detection is best, the last target (-1: none) unless another is better by the margin."""
        if last >= 0 and math.isfinite(cost[last]):
            cost[last] -= self._settings.margin
        best = int(np.argmin(cost))
        return best if math.isfinite(cost[best]) else -1

    def target(self, found: Detections, which: int, points: NDArray[np.float32], frame: Frame) -> Target:
        """Return the target that a detection is."""
        left, top, right, bottom = found.xyxy[which].tolist()
        x, y = points[which].tolist()
        middle_x, middle_y = self.crosshair_px(frame)
        target = Target(
            (left, top, right, bottom),
            int(found.class_id[which]),
            float(found.confidence[which]),
            x,
            y,
            x - middle_x,
            y - middle_y,
            found.at_ns,
        )
        self._patience.chose(target, frame)
        return target

    def steady(self, found: Detections, frame: Frame) -> NDArray[np.float32]:
        """Return the boxes where they would be if the view had never turned, (n, 4)."""
        return self._view.steady(found.xyxy, frame, found.at_ns or frame.at_ns, self.crosshair_px(frame))

    def crosshair_px(self, frame: Frame) -> tuple[float, float]:
        """Return where the crosshair is."""
        return self._crosshair[0] * frame.width, self._crosshair[1] * frame.height


class BestSelection:
    """Keeps to its target by where that should be, the agent's own turning taken off.

    :raises UserError: a class in `classes` is not one of the detector's.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._choice = Choice(settings, context)
        self._near = Near(settings.same_px)

    def begin(self, episode: int) -> None:
        """Forget the target: a new episode begins."""
        self._choice.begin()
        self._near.begin()

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        """Return the target, or None when no detection counts."""
        if not len(detections):
            return None
        points, cost = self._choice.costs(detections, frame)
        steady = self._choice.steady(detections, frame)
        best = self._choice.cheapest(cost, self._near.find(steady, cost))
        if best < 0:
            return None
        self._near.take(steady[best])
        return self._choice.target(detections, best, points, frame)


class Near:
    """Knows the last target by its place."""

    def __init__(self, same_px: float) -> None:
        self._same_px = same_px
        self.begin()

    def begin(self) -> None:
        """Forget it: a new episode begins."""
        self._last: Sequence[float] | None = None

    def find(self, steady: NDArray[np.float32], cost: NDArray[np.float64]) -> int:
        """Return which box is the last target, of those that count; -1 when none is."""
        if self._last is None:
            return -1
        left, top, right, bottom = self._last
        away = np.hypot(
            (steady[:, 0] + steady[:, 2] - left - right) / 2, (steady[:, 1] + steady[:, 3] - top - bottom) / 2
        )
        away[np.isinf(cost)] = np.inf
        closest = int(np.argmin(away))
        return closest if away[closest] <= max(self._same_px, (right - left) / 2) else -1

    def take(self, box: NDArray[np.float32]) -> None:
        """Take a box for the last target."""
        self._last = box.tolist()


@hookimpl
def reticle_selection() -> SelectionFactory:
    """Offer `best`."""
    return SelectionFactory(
        "best",
        BestSelection,
        Settings,
        "the best by distance, size and confidence, kept by a margin",
        check=nearest.check,
    )
