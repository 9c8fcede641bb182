"""The aim controller: from a target to an action."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.types import IDLE, LEFT, Action, Frame, Target


class AimSettings(BaseModel):
    """How far to move for how much error, and when to fire."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    gain: float = Field(0.3, gt=0, le=2, description="The part of the aim error that one action corrects.")
    fov_deg: float | None = Field(None, gt=1, lt=179, description="The game's horizontal field of view, degrees.")
    view_width_px: int | None = Field(
        None, gt=0, description="The width that the field of view spans, pixels; the frame's by default."
    )
    degrees_per_count: float | None = Field(
        None,
        gt=0,
        description="How far one mouse count turns the view, degrees. Without it and `fov_deg` a pixel of "
        "error is one count, times the gain.",
    )
    vertical: bool = Field(True, description="Whether to aim up and down too.")
    deadband_px: float = Field(0.0, ge=0, description="An aim error smaller than this is left alone, pixels.")
    max_counts: int = Field(2000, gt=0, description="The most counts one action may move along an axis.")
    search_deg: float = Field(
        0.0, description="Turn by this much for each frame without a target, degrees (needs calibration)."
    )
    fire: Literal["never", "tap", "hold"] = Field(
        "never",
        description="`tap` presses for one frame and lets go for the next, `hold` presses as long as the "
        "crosshair is on the target.",
    )
    fire_within: float = Field(
        0.8,
        gt=0,
        le=1,
        description="How far from the aim point counts as on the target, as a part of the box's half size.",
    )

    def focal_px(self, width: float) -> float:
        """Return the distance from the eye to the picture's plane, pixels of a frame of this width.

        The picture is a plane, and its pixels are square: the same holds up and down.

        :raises ValueError: the field of view is not known.
        """
        if self.fov_deg is None:
            raise ValueError("the field of view is not known")
        return (self.view_width_px or width) / 2 / math.tan(math.radians(self.fov_deg) / 2)

    @model_validator(mode="after")
    def _degrees_need_calibration(self) -> AimSettings:
        for name in ("search_deg", "fov_deg"):
            if getattr(self, name) and self.degrees_per_count is None:
                raise ValueError(f"{name} is in degrees, so degrees_per_count must be set too")
        return self


class AimController:
    """Proportional aim: each action corrects `gain` of the error; parts of a count are carried over.

    Deterministic: the same targets in the same order give the same actions.

    :param absolute: the actuation goes to a point on the screen, so the crosshair follows at once.
    """

    def __init__(self, settings: AimSettings, absolute: bool = False) -> None:
        self._settings = settings
        self._absolute = absolute
        self._carry_x = 0.0
        self._carry_y = 0.0
        self._pressed = False
        self._episode = -1

    def act(self, target: Target | None, frame: Frame) -> Action:
        """Return the action for this frame."""
        if frame.episode != self._episode:
            self._episode = frame.episode
            self._carry_x = self._carry_y = 0.0
            self._pressed = False
        if target is None:
            return self._search()
        if not math.isfinite(target.error_x + target.error_y):
            raise ValueError(f"the selection gave a target whose aim error is no number: {target}")
        s = self._settings
        buttons = self._fire(target)
        if self._absolute:
            point = (round(frame.origin[0] + target.aim_x), round(frame.origin[1] + target.aim_y))
            return Action(0, 0, buttons, point)
        dx = self._counts(target.error_x, frame)
        dy = self._counts(target.error_y, frame) if s.vertical else 0.0
        return Action(*self._whole(dx, dy), buttons)

    def _counts(self, error_px: float, frame: Frame) -> float:
        s = self._settings
        if abs(error_px) < s.deadband_px:
            return 0.0
        if s.fov_deg is None or s.degrees_per_count is None:
            return s.gain * error_px
        return s.gain * math.degrees(math.atan(error_px / s.focal_px(frame.width))) / s.degrees_per_count

    def _whole(self, dx: float, dy: float) -> tuple[int, int]:
        limit = self._settings.max_counts
        x, y = dx + self._carry_x, dy + self._carry_y
        whole_x, whole_y = round(x), round(y)
        self._carry_x, self._carry_y = x - whole_x, y - whole_y
        return max(-limit, min(limit, whole_x)), max(-limit, min(limit, whole_y))

    def _fire(self, target: Target) -> int:
        s = self._settings
        if s.fire == "never":
            return 0
        half_width = (target.box[2] - target.box[0]) / 2 * s.fire_within
        half_height = (target.box[3] - target.box[1]) / 2 * s.fire_within
        x = 0.0 if self._absolute else target.error_x
        y = 0.0 if self._absolute or not s.vertical else target.error_y
        on_target = abs(x) <= half_width and abs(y) <= half_height
        self._pressed = on_target and not (s.fire == "tap" and self._pressed)
        return LEFT if self._pressed else 0

    def _search(self) -> Action:
        self._pressed = False
        s = self._settings
        if not s.search_deg or s.degrees_per_count is None:
            return IDLE
        return Action(*self._whole(s.search_deg / s.degrees_per_count, 0.0))
