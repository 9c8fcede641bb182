"""Controller `kalman`: a Kalman filter on where the target is seen, led by a fixed time; the usual way, for comparison.

Tools that aim by the screen alone filter a target's place on the screen with a model of constant speed, add the speed
times a lead that is set by hand, and go a part of the way there. What the agent's own turning does to that place is not
taken out, so that each turn looks like a motion of the target; `predictive` is what does without this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pydantic import Field

from agent.context import Context
from agent.factories import ControllerFactory
from agent.hookspecs import hookimpl
from agent.types import Action, Frame, Target
from plugins.controller.base import JUMP_DEG, AimController, AimSettings, warn_uncalibrated
from plugins.controller.turning import angle_deg, check, outside_deadband


class Settings(AimSettings):
    """How much the filter believes its model, and how far it leads."""

    noise_deg: float = Field(0.2, gt=0, le=20, description="How far sightings are off, degrees, standard deviation.")
    agility_deg_s2: float = Field(
        200.0, gt=0, le=100_000, description="How much targets speed up, degrees a second squared, standard deviation."
    )
    lead_ms: float = Field(0.0, ge=0, le=2000, description="How far ahead targets are aimed at, milliseconds.")


@dataclass
class Axis:
    """A filter of constant speed on one axis: place and speed, and the covariance of the two."""

    place: float
    rate: float = 0.0
    place_var: float = 1.0
    covariance: float = 0.0
    rate_var: float = 1e4

    def update(self, seen: float, seconds: float, noise: float, agility: float) -> None:
        """Take a sighting in, so long after the last (Bar-Shalom, Li and Kirubarajan 2001, chapter 6)."""
        q = agility**2
        self.place += self.rate * seconds
        self.place_var += 2 * seconds * self.covariance + seconds**2 * self.rate_var + q * seconds**4 / 4
        self.covariance += seconds * self.rate_var + q * seconds**3 / 2
        self.rate_var += q * seconds**2
        spread = self.place_var + noise**2
        gain, rate_gain = self.place_var / spread, self.covariance / spread
        miss = seen - self.place
        self.place += gain * miss
        self.rate += rate_gain * miss
        self.rate_var -= rate_gain * self.covariance
        self.covariance *= 1 - gain
        self.place_var *= 1 - gain


class KalmanController(AimController[Settings]):
    """Needs calibration; without it, it is proportional."""

    def __init__(self, settings: Settings, context: Context) -> None:
        super().__init__(settings, context)
        warn_uncalibrated("kalman", context)
        self.begin(0)

    def begin(self, episode: int) -> None:
        """Forget everything: a new episode begins."""
        super().begin(episode)
        self._axes: tuple[Axis, Axis] | None = None
        self._seen_ns = 0

    def _without_target(self, frame: Frame) -> tuple[int, int]:
        self._axes = None
        return super()._without_target(frame)

    def _towards(self, target: Target, frame: Frame) -> Action:
        s = self._settings
        f = self._calibration.focal_px(frame.width)
        seen = tuple(angle_deg(error, f) for error in outside_deadband(target, s.deadband_px))
        seconds = (frame.at_ns - self._seen_ns) / 1e9
        self._seen_ns = frame.at_ns
        if self._axes is None or math.dist(seen, [axis.place + axis.rate * seconds for axis in self._axes]) > JUMP_DEG:
            self._axes = (Axis(seen[0]), Axis(seen[1]))
        else:
            for axis, at in zip(self._axes, seen, strict=True):
                axis.update(at, seconds, s.noise_deg, s.agility_deg_s2)
        x, y = (axis.place + axis.rate * s.lead_ms / 1e3 for axis in self._axes)
        return Action(
            *self._turning.degrees(s.gain * x, s.gain * y), self._fire(target, target.error_x, target.error_y, frame)
        )


@hookimpl
def reticle_controller() -> ControllerFactory:
    """Offer `kalman`."""
    return ControllerFactory(
        "kalman", KalmanController, Settings, "a Kalman filter on the screen's place, as others have it", check=check
    )
