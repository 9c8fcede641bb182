"""What is measured of a game and a mouse: the profile's section `calibration`, written by `agent.py calibrate`."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

PerCount = Annotated[float, Field(ge=-90, le=90)]


class Calibration(BaseModel):
    """Field of view, degrees a count and delay. Host, selections and controllers read it; nobody changes it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    fov_deg: float | None = Field(None, gt=1, lt=179, description="The game's horizontal field of view, degrees.")
    view_width_px: int | None = Field(
        None, gt=0, description="The width that the field of view spans, pixels; the frame's by default."
    )
    degrees_per_count: PerCount | tuple[PerCount, PerCount] | None = Field(
        None,
        description="How far one mouse count turns the view, degrees: one number, or one for each axis, [right, down]. "
        "Without it and `fov_deg` a pixel of error is one count, times the gain.",
    )
    delay_ms: float = Field(
        0.0,
        ge=0,
        le=2000,
        description="From a motion sent to the first picture that shows it, milliseconds; 0 means the next.",
    )

    adapt: bool = Field(
        False,
        description="Whether scale and delay are corrected during a run by what the picture does after known motions; "
        "on trial: what is wrong by less than a quarter it leaves alone.",
    )

    @property
    def per_count(self) -> tuple[float, float] | None:
        """Degrees a count, right and down; None where it is not known."""
        given = self.degrees_per_count
        return (given, given) if isinstance(given, float | int) else given

    @property
    def calibrated(self) -> bool:
        """Whether errors can be turned into degrees and degrees into counts."""
        return self.fov_deg is not None and self.degrees_per_count is not None

    @property
    def delay_ns(self) -> int:
        """The delay, nanoseconds."""
        return int(self.delay_ms * 1e6)

    def focal_px(self, width: float) -> float:
        """Return the distance from the eye to the picture's plane, pixels of a frame of this width.

        The picture is a plane, and its pixels are square: the same holds up and down.

        :raises ValueError: the field of view is not known.
        """
        if self.fov_deg is None:
            raise ValueError("the field of view is not known")
        return (self.view_width_px or width) / 2 / math.tan(math.radians(self.fov_deg) / 2)

    def half_view_deg(self, width: float) -> float:
        """Return how far from its middle a picture of this width reaches, degrees.

        :raises ValueError: the field of view is not known.
        """
        return math.degrees(math.atan(width / 2 / self.focal_px(width)))

    @model_validator(mode="after")
    def _consistent(self) -> Calibration:
        if self.fov_deg is not None and self.degrees_per_count is None:
            raise ValueError("fov_deg is in degrees, so degrees_per_count must be set too")
        if self.per_count is not None and 0.0 in self.per_count:
            raise ValueError("degrees_per_count is 0, and then no count turns the view")
        return self
