"""Controller `pid`: corrects a part of the aim error, of its sum and of its change."""

from __future__ import annotations

import math

from pydantic import Field

from agent.context import Context
from agent.factories import ControllerFactory
from agent.hookspecs import hookimpl
from agent.types import Action, Frame, Target
from plugins.controller.base import JUMP_DEG, AimController, AimSettings, warn_uncalibrated
from plugins.controller.turning import angle_deg, check, outside_deadband

LIMIT = 10.0
"""The largest sum of errors, degrees times seconds, so that it does not wind up."""


class Settings(AimSettings):
    """What the error's sum and change count."""

    integral_per_s: float = Field(0.0, ge=0, le=100, description="The part of the error's sum over a second.")
    derivative_s: float = Field(0.0, ge=0, le=1, description="The part of the error's change a second.")


class PidController(AimController[Settings]):
    """Needs calibration; without it, it is proportional."""

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        warn_uncalibrated("pid", context)
        self.begin(0)

    def begin(self, episode: int) -> None:
        """Forget everything: a new episode begins."""
        super().begin(episode)
        self._forget_target()

    def _forget_target(self) -> None:
        self._error: tuple[float, float] | None = None
        self._sum = self._next_sum = (0.0, 0.0)

    def _without_target(self, frame: Frame) -> tuple[int, int]:
        self._forget_target()
        return super()._without_target(frame)

    def _towards(self, target: Target, frame: Frame) -> Action:
        s = self._settings
        f = self._calibration.focal_px(frame.width)
        seconds = self._turning.period_ns / 1e9
        x, y = (angle_deg(error, f) for error in outside_deadband(target, s.deadband_px))
        if self._error is not None and math.hypot(x - self._error[0], y - self._error[1]) > JUMP_DEG:
            self._forget_target()
        sum_x, sum_y = (
            max(-LIMIT, min(LIMIT, total + error * seconds)) for total, error in ((self._sum[0], x), (self._sum[1], y))
        )
        self._next_sum = (sum_x, sum_y)
        last_x, last_y = self._error or (x, y)
        self._error = (x, y)
        change_x, change_y = ((x - last_x) / seconds, (y - last_y) / seconds) if seconds else (0.0, 0.0)
        counts = self._turning.degrees(
            s.gain * x + s.integral_per_s * sum_x + s.derivative_s * change_x,
            s.gain * y + s.integral_per_s * sum_y + s.derivative_s * change_y,
        )
        return Action(*counts, self._fire(target, target.error_x, target.error_y, frame))

    def _carried_out(self, carried_out: bool) -> None:
        super()._carried_out(carried_out)
        if carried_out:
            self._sum = self._next_sum


@hookimpl
def reticle_controller() -> ControllerFactory:
    """Offer `pid`."""
    return ControllerFactory("pid", PidController, Settings, "corrects the error, its sum and its change", check=check)
