"""What a profile says of the aim tasks, and what they are scored by."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.factories import PluginSettings
from agent.types import Measure

TASKS = ("flick", "strafe", "bounce", "accelerate", "jump", "switch")

MEASURES = (
    Measure("throughput_bit_s", "Of flicks, by ISO 9241-9: effective difficulty over movement time, bits a second."),
    Measure("time_on_target", "Of a target that moves: the share of time with the crosshair on it."),
    Measure("hits_per_min", "Targets hit a minute.", in_run=False),
    Measure("time_to_target_ms", "From a flick's target to its hit, milliseconds, mean.", lower_is_better=True),
    Measure("aim_error_deg", "From crosshair to target, degrees, mean over frames.", lower_is_better=True),
    Measure("past_deg", "Of flicks: how far the crosshair went past the target, degrees, mean.", lower_is_better=True),
    Measure(
        "flips_per_s", "How often another target became the nearest without a hit, a second.", lower_is_better=True
    ),
    Measure("hits_per_shot", "Hits a shot."),
    Measure("timeouts", "Flicks that were given up after three seconds.", lower_is_better=True, in_arena=False),
)
"""What an episode is scored by: the first that the task has is what it is about."""


class Settings(PluginSettings):
    """Which task, and how it looks."""

    scenario: Literal["flick", "strafe", "bounce", "accelerate", "jump", "switch"] = Field(
        "flick",
        description="`flick`: targets appear one after another. `strafe`, `bounce`, `accelerate`, `jump`: one target "
        "that moves so is to be followed. `switch`: several at once.",
    )
    width: int = Field(640, ge=160, le=3840, description="The picture's width, pixels.")
    height: int = Field(480, ge=120, le=2160, description="The picture's height, pixels.")
    fps: float = Field(60.0, ge=10, le=1000, description="Pictures a second.")
    seconds: float = Field(15.0, ge=3, le=600, description="How long an episode is; flicks end with the last one.")
    flicks: int = Field(
        30,
        ge=12,
        le=600,
        description="How many targets appear one after another, each as often at each distance and size.",
    )
