"""Controller `proportional`: corrects a part of each picture's aim error."""

from __future__ import annotations

from agent.factories import ControllerFactory
from agent.hookspecs import hookimpl
from agent.types import Action, Frame, Target
from plugins.controller.base import AimController, AimSettings
from plugins.controller.turning import angle_deg, check, outside_deadband


class Settings(AimSettings):
    """Nothing beside turning and firing."""


class ProportionalController(AimController[Settings]):
    """Turns by the gain times the error; with latency it runs past the target and swings."""

    def _towards(self, target: Target, frame: Frame) -> Action:
        s = self._settings
        x, y = outside_deadband(target, s.deadband_px)
        f = self._calibration.focal_px(frame.width)
        buttons = self._fire(target, target.error_x, target.error_y, frame)
        return Action(*self._turning.degrees(s.gain * angle_deg(x, f), s.gain * angle_deg(y, f)), buttons)

    def _pixel_gain(self) -> float:
        return self._settings.gain


@hookimpl
def reticle_controller() -> ControllerFactory:
    """Offer `proportional`."""
    return ControllerFactory(
        "proportional", ProportionalController, Settings, "corrects a part of each picture's error", check=check
    )
