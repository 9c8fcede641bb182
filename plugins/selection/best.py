"""Selection `best`: what costs least by distance, size and confidence, and is kept until something is better."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from agent.context import Context
from agent.factories import SelectionFactory
from agent.hookspecs import hookimpl
from agent.types import Box, Detections, Frame, Target
from plugins.selection import nearest
from plugins.selection.patience import Patience

Strategy = Literal["nearest", "biggest", "surest"]
Point = tuple[float, float]
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
        self._margin, self._min_confidence = settings.margin, settings.min_confidence
        self._limit = math.inf if settings.fov_px is None else settings.fov_px
        self._in_circle = settings.fov_shape == "circle"
        self._crosshair = context.crosshair
        self._view = context.view
        self._patience = Patience(settings.patience_s, context)
        self._weights = [settings.weights.get(name, 0.0) for name in ("nearest", "biggest", "surest")]
        self._aim_points = nearest.aim_points(settings, context)
        self._priority = nearest.priorities(settings, context)

    def begin(self) -> None:
        """Forget what was given up: a new episode begins."""
        self._patience.begin()

    def costs(self, found: Detections, frame: Frame) -> tuple[list[Point], list[float]]:
        """Return the aim points, in pixels, and what each detection costs; infinity leaves it out.

        Without numpy: each of its calls costs more than all the arithmetic of the few boxes that a picture has. Of more
        than some forty it would be the faster.
        """
        near, biggest, surest = self._weights
        near, biggest = near / (frame.width / 2), biggest / frame.height
        limit, in_circle, least = self._limit, self._in_circle, self._min_confidence
        aim_points, alike, priority = self._aim_points, len(self._aim_points) == 1, self._priority
        part_x, part_y = aim_points[0]
        ahead_x, ahead_y = self._view.ahead_px(frame, found.at_ns or frame.at_ns)
        middle_x, middle_y = self.crosshair_px(frame)
        middle_x, middle_y = middle_x + ahead_x, middle_y + ahead_y
        given_up = self._patience.given_up(found, frame)
        points, costs, infinity, hypot = [], [], math.inf, math.hypot
        confidences, kinds = found.confidence.tolist(), found.class_id.tolist()
        for i, (left, top, right, bottom) in enumerate(found.xyxy.tolist()):
            if not alike:
                part_x, part_y = aim_points[kinds[i]]
            width, height, confidence = right - left, bottom - top, confidences[i]
            x, y = left + part_x * width, top + part_y * height
            points.append((x, y))
            off_x, off_y = x - middle_x, y - middle_y
            way = hypot(off_x, off_y)
            rank = 0 if priority is None else priority.get(kinds[i], -1)
            if (
                rank < 0
                or (way if in_circle else max(abs(off_x), abs(off_y))) > limit
                or confidence < least
                or (given_up is not None and given_up[i])
            ):
                costs.append(infinity)
                continue
            cost = near * way
            if biggest:
                cost -= biggest * math.sqrt(max(0.0, width * height))
            cost = cost - surest * confidence + rank * CLASS_COST
            costs.append(cost if cost < infinity else infinity)  # what is no number is none to aim at
        return points, costs

    def cheapest(self, costs: list[float], last: int) -> int:
        """Return which detection is best, the last target (-1: none) unless another is better by the margin."""
        if last >= 0:
            costs[last] -= self._margin
        cost = min(costs)
        return costs.index(cost) if cost < math.inf else -1

    def target(self, found: Detections, which: int, points: list[Point], frame: Frame) -> Target:
        """Return the target that a detection is."""
        left, top, right, bottom = found.xyxy[which].tolist()
        x, y = points[which]
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

    def steady(self, found: Detections, frame: Frame) -> list[Box]:
        """Return the boxes where they would be if the view had never turned."""
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
        points, costs = self._choice.costs(detections, frame)
        steady = self._choice.steady(detections, frame)
        best = self._choice.cheapest(costs, self._near.find(steady, costs))
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
        self._last: Box | None = None

    def find(self, steady: list[Box], costs: list[float]) -> int:
        """Return which box is the last target, of those that count; -1 when none is."""
        if self._last is None:
            return -1
        left, top, right, bottom = self._last
        x, y = left + right, top + bottom
        limit = max(self._same_px, (right - left) / 2)
        closest, closest_away = -1, math.inf
        for i, (x1, y1, x2, y2) in enumerate(steady):
            away = math.hypot(x1 + x2 - x, y1 + y2 - y) / 2
            if away < closest_away and costs[i] < math.inf:
                closest, closest_away = i, away
        return closest if closest_away <= limit else -1

    def take(self, box: Box) -> None:
        """Take a box for the last target."""
        self._last = box


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
