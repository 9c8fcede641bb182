"""Controller `predictive`: corrects what remains after the motions that the picture does not show yet.

It keeps a track of the target, aims at where it will be, goes on over pictures that lack it, and shoots again only when
a picture shows what the last shot did.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from agent.classes import class_index
from agent.context import Context
from agent.factories import ControllerFactory
from agent.hookspecs import hookimpl
from agent.types import Action, Frame, Target
from plugins.controller.base import JUMP_DEG, AimController, AimSettings, warn_uncalibrated
from plugins.controller.track import Track, updated
from plugins.controller.turning import angle_deg, check

IN_VIEW = 0.9
"""A target nearer to the picture's edge than this part of its half is not sure to be in it."""
LONGEST_COAST_NS = 2_000_000_000
STEEPEST_DEG = 80.0
"""What lies farther aside has no place in the picture's plane."""


class Settings(AimSettings):
    """How far to believe a track, and to follow it."""

    smoothing: float = Field(0.7, ge=0, lt=1, description="How much a track is believed over a sighting; 0 not at all.")
    coast_ms: float = Field(
        100.0,
        ge=0,
        le=5000,
        description="A target that pictures lack where it should be is aimed at for so long still, milliseconds.",
    )
    lead_ms: dict[str, Annotated[float, Field(ge=0, le=2000)]] = Field(
        {}, description="How much farther targets of a class are led, as what is shot at them flies, milliseconds."
    )
    lead_max_deg: float = Field(12.0, ge=0, le=90, description="The farthest that a target is led, degrees.")


class PredictiveController(AimController[Settings]):
    """Needs calibration; without it, it is proportional.

    :raises UserError: `lead_ms` names a class that the detector does not know.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        warn_uncalibrated("predictive", context)
        self._history = context.history
        self._lead_ns = {
            class_index(name, context.names, "aim.lead_ms"): int(ms * 1e6) for name, ms in settings.lead_ms.items()
        }
        self.begin(0)

    def begin(self, episode: int) -> None:
        """Forget everything: a new episode begins."""
        super().begin(episode)
        self._track: Track | None = None
        self._lag_ns = self._missed_ns = self._ahead_ns = 0

    def _towards(self, target: Target, frame: Frame) -> Action:
        s = self._settings
        f = self._calibration.focal_px(frame.width)
        seen_ns = target.at_ns or frame.at_ns
        self._lag_ns, self._missed_ns = frame.at_ns - seen_ns, 0
        shown_x, shown_y = self._history.shown(seen_ns)
        at_x, at_y = shown_x + angle_deg(target.error_x, f), shown_y + angle_deg(target.error_y, f)
        self._track = updated(self._track, seen_ns, at_x, at_y, s.smoothing, JUMP_DEG)
        self._ahead_ns = self._lead_ns.get(target.class_id, 0)
        (rest_x, rest_y), (step_x, step_y) = self._rest(self._track, frame)
        off_x, off_y = rest_x - step_x, rest_y - step_y
        px_x, px_y = (f * math.tan(math.radians(max(-STEEPEST_DEG, min(STEEPEST_DEG, off)))) for off in (off_x, off_y))
        buttons = self._trigger.decide(target, px_x, px_y, seen_ns, frame.at_ns, self._history.dead_ns)
        counts = self._turning.degrees(
            step_x + (s.gain * off_x if abs(px_x) >= s.deadband_px else 0.0),
            step_y + (s.gain * off_y if abs(px_y) >= s.deadband_px else 0.0),
        )
        return Action(*counts, buttons)

    def _rest(self, track: Track, frame: Frame) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return what is left to turn, degrees, until the first picture that shows this frame's motion.

        And how much of it the target will have moved since the picture before, which is turned whole: with a part of it
        alone the view would stay behind a moving target for ever.
        """
        limit = self._settings.lead_max_deg
        period_ns = self._turning.period_ns
        at_ns = frame.at_ns + max(self._history.dead_ns, period_ns) + self._ahead_ns
        x, y = track.ahead(at_ns, limit)
        before_x, before_y = track.ahead(at_ns - period_ns, limit)
        view = self._history.view
        return (x - view[0], y - view[1]), (x - before_x, y - before_y)

    def _without_target(self, frame: Frame) -> tuple[int, int]:
        counts = self._coast(frame)
        return super()._without_target(frame) if counts is None else counts

    def _coast(self, frame: Frame) -> tuple[int, int] | None:
        """Go on to a target that was seen before; None when there is none, or pictures show that it is gone.

        A late picture may be of a moment when the view was elsewhere: that it lacks the target says nothing.
        """
        s = self._settings
        if self._track is None:
            return None
        picture_ns = frame.at_ns - self._lag_ns
        x, _ = self._track.ahead(picture_ns, s.lead_max_deg)
        off = abs(x - self._history.shown(picture_ns)[0])
        if off < self._calibration.half_view_deg(frame.width) * IN_VIEW:
            self._missed_ns = self._missed_ns or frame.at_ns
            if frame.at_ns - self._missed_ns >= s.coast_ms * 1e6:
                self._track = None
                return None
        if frame.at_ns - self._track.at_ns > LONGEST_COAST_NS:
            self._track = None
            return None
        (rest_x, rest_y), (step_x, step_y) = self._rest(self._track, frame)
        return self._turning.degrees(step_x + s.gain * (rest_x - step_x), step_y + s.gain * (rest_y - step_y))


@hookimpl
def reticle_controller() -> ControllerFactory:
    """Offer `predictive`."""
    return ControllerFactory(
        "predictive",
        PredictiveController,
        Settings,
        "corrects what remains after the motions that the picture does not show yet",
        check=check,
    )
