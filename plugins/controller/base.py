"""What the controllers share: a frame's course, and that nothing of a decision holds before it was carried out."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from agent.context import Context
from agent.types import Action, Frame, Target
from core.command import COMMAND
from plugins.controller.trigger import FireSettings, Trigger
from plugins.controller.turning import Turning, TurnSettings, outside_deadband

log = logging.getLogger("reticle")

SAFE_GAIN = 0.3
"""The highest gain without calibration: a pixel is rarely more than three counts."""
JUMP_DEG = 4.0
"""A sighting this far from where the last one leads is of another target."""


class AimSettings(TurnSettings, FireSettings):
    """Turning and firing."""


SettingsT = TypeVar("SettingsT", bound=AimSettings)


class AimController(ABC, Generic[SettingsT]):
    """Target to action. Deterministic: the same targets in the same order at the same times give the same actions."""

    def __init__(self, settings: SettingsT, context: Context) -> None:
        self._settings = settings
        self._calibration = context.calibration
        self._absolute = context.absolute
        self._turning = Turning(settings, context.calibration, context.history)
        self._trigger = Trigger(settings, settings.vertical)
        self._decided = Action()

    def begin(self, episode: int) -> None:
        """Forget everything: a new episode begins."""
        self._turning.begin()
        self._trigger.begin()

    def decide(self, target: Target | None, frame: Frame) -> Action:
        """Return the action for this frame."""
        self._turning.frame(frame.at_ns)
        if target is None:
            self._trigger.rest()
            action = Action(*self._without_target(frame))
        else:
            self._turning.aiming()
            action = self._with_target(target, frame)
        self._decided = action
        return action

    def _with_target(self, target: Target, frame: Frame) -> Action:
        if self._absolute:  # the actuation goes to a point on the screen, so the crosshair follows at once
            point = (round(frame.origin[0] + target.aim_x), round(frame.origin[1] + target.aim_y))
            return Action(0, 0, self._fire(target, 0.0, 0.0, frame), point)
        return self._towards(target, frame) if self._calibration.calibrated else self._in_pixels(target, frame)

    def sent(self, action: Action, frame: Frame) -> None:
        """Take note of what was carried out."""
        self._carried_out(action == self._decided)

    def _carried_out(self, carried_out: bool) -> None:
        self._turning.commit(carried_out)
        self._trigger.commit(carried_out)

    @abstractmethod
    def _towards(self, target: Target, frame: Frame) -> Action:
        """Return the action of a frame with a target, where everything is calibrated."""

    def _without_target(self, frame: Frame) -> tuple[int, int]:
        """Return the counts of a frame without a target."""
        return (0, 0) if self._absolute else self._turning.search()

    def _in_pixels(self, target: Target, frame: Frame) -> Action:
        """Return the action where nothing is calibrated: a pixel of error is one count, times the gain."""
        gain = self._pixel_gain()
        x, y = outside_deadband(target, self._settings.deadband_px)
        buttons = self._fire(target, target.error_x, target.error_y, frame)
        return Action(*self._turning.counts(gain * x, gain * y), buttons)

    def _pixel_gain(self) -> float:
        return min(self._settings.gain, SAFE_GAIN)

    def _fire(self, target: Target, error_x: float, error_y: float, frame: Frame) -> int:
        return self._trigger.decide(target, error_x, error_y, target.at_ns or frame.at_ns, frame.at_ns)


def warn_uncalibrated(name: str, context: Context) -> None:
    """Say once that a controller which needs calibration goes on without."""
    if not context.calibration.calibrated:
        log.warning(
            '%s: nothing is calibrated, so the controller "%s" is proportional: "%s calibrate --profile %s --live" '
            "measures calibration.fov_deg and degrees_per_count",
            context.profile, name, COMMAND, context.profile,
        )  # fmt: skip
