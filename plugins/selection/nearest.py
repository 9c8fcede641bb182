"""Selection `nearest`: the detection nearest the crosshair, within the highest class priority."""

from __future__ import annotations

import math

from pydantic import Field

from agent.classes import class_index
from agent.context import Context
from agent.factories import PluginSettings, SelectionFactory
from agent.hookspecs import hookimpl
from agent.types import Detections, Frame, Target
from plugins.selection.patience import Patience


class Settings(PluginSettings):
    """Which detections count, and where on them to aim."""

    classes: tuple[str, ...] = Field(
        (), description="The classes to aim at, the most important first; all alike when empty."
    )
    min_confidence: float = Field(0.0, ge=0, le=1, description="Detections less sure than this are ignored.")
    fov_px: float | None = Field(
        None, gt=0, description="Ignore aim points farther than this from where the crosshair will be, pixels."
    )
    aim_point: tuple[float, float] = Field(
        (0.5, 0.5), description="Where on the box to aim, as fractions of its width and height from top left."
    )
    aim_points: dict[str, tuple[float, float]] = Field(
        {}, description="The same for a class by its name, in place of `aim_point`: the upper part of a body, say."
    )
    patience_s: float | None = Field(
        None,
        gt=0,
        description="Give up a target that stays where it is while it is aimed at for so long, seconds, and leave it "
        "out for 20 s: a corpse, a statue. By default none is.",
    )


def aim_points(settings: Settings, context: Context) -> list[tuple[float, float]]:
    """Return where on the boxes of each class to aim, one for each of the detector's; one alone where all are alike.

    :raises UserError: a class in `aim_points` is not one of the detector's.
    """
    if not settings.aim_points:
        return [settings.aim_point]
    points = [settings.aim_point] * len(context.names)
    for name, point in settings.aim_points.items():
        points[class_index(name, context.names, "selection.aim_points")] = point
    return points


def priorities(settings: Settings, context: Context) -> dict[int, int] | None:
    """Return the rank of each class that is aimed at, 0 the most important; None when all are alike.

    :raises UserError: a class in `classes` is not one of the detector's.
    """
    if not settings.classes:
        return None
    return {class_index(name, context.names, "selection.classes"): rank for rank, name in enumerate(settings.classes)}


def check(settings: Settings, context: Context) -> None:
    """See that the detector knows the classes, where its names are known already.

    :raises UserError: it lacks one.
    """
    if context.names:
        priorities(settings, context)
        aim_points(settings, context)


class NearestSelection:
    """Nearest to where the crosshair will be once all that was sent shows; ties go to the detection that comes first.

    :raises UserError: a class in `classes` is not one of the detector's.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self._crosshair = context.crosshair
        self._view = context.view
        self._points = aim_points(settings, context)
        self._min_confidence = settings.min_confidence
        self._limit = math.inf if settings.fov_px is None else settings.fov_px
        self._priority = priorities(settings, context)
        self._patience = Patience(settings.patience_s, context)

    def begin(self, episode: int) -> None:
        """Forget what was given up: a new episode begins."""
        self._patience.begin()

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        """Return the target, or None when no detection counts."""
        if not len(detections):
            return None
        cross_x, cross_y = self._crosshair[0] * frame.width, self._crosshair[1] * frame.height
        points, alike = self._points, len(self._points) == 1
        at_ns = detections.at_ns
        ahead_x, ahead_y = self._view.ahead_px(frame, at_ns or frame.at_ns)
        near_x, near_y = cross_x + ahead_x, cross_y + ahead_y
        priority = self._priority
        given_up = self._patience.given_up(detections, frame)
        best: tuple[float, float] = (math.inf, math.inf)
        target = None
        rows = zip(
            detections.xyxy.tolist(),
            detections.confidence.tolist(),
            detections.class_id.tolist(),
            strict=True,
        )
        for i, ((left, top, right, bottom), confidence, class_id) in enumerate(rows):
            if confidence < self._min_confidence or (given_up is not None and given_up[i]):
                continue
            rank = 0 if priority is None else priority.get(class_id, -1)
            if rank < 0:
                continue
            part_x, part_y = points[0] if alike else points[class_id]
            x, y = left + part_x * (right - left), top + part_y * (bottom - top)
            distance = math.hypot(x - near_x, y - near_y)
            if distance <= self._limit and (rank, distance) < best:
                best = (rank, distance)
                target = Target((left, top, right, bottom), class_id, confidence, x, y, x - cross_x, y - cross_y, at_ns)
        self._patience.chose(target, frame)
        return target


@hookimpl
def reticle_selection() -> SelectionFactory:
    """Offer `nearest`."""
    return SelectionFactory(
        "nearest", NearestSelection, Settings, "the nearest to the crosshair, by class priority", check=check
    )
