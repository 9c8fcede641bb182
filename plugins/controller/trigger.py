"""When to fire, apart from where to turn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.factories import PluginSettings
from agent.types import LEFT, Target


class FireSettings(PluginSettings):
    """When to press the button."""

    fire: Literal["never", "tap", "hold"] = Field(
        "never",
        description="`tap` presses for one frame and lets go for the next, `hold` presses as long as the "
        "crosshair is on the target.",
    )
    fire_pause_ms: float = Field(
        0.0, ge=0, le=10_000, description="The least time from a shot to the picture of the next, milliseconds."
    )
    fire_within: float = Field(
        0.8,
        gt=0,
        le=1,
        description="How far from the aim point counts as on the target, as a part of the box's half size.",
    )


class Trigger:
    """Decides about the button. What a decision changes holds from `commit` on, once it was carried out.

    :param vertical: whether the aim is up and down too; else only the error to the side counts.
    """

    def __init__(self, settings: FireSettings, vertical: bool) -> None:
        self._settings = settings
        self._vertical = vertical
        self._pause_ns = int(settings.fire_pause_ms * 1e6)
        self.begin()

    def begin(self) -> None:
        """Forget everything: a new episode begins."""
        self._pressed = self._next_pressed = False
        self._shot_ns = self._next_shot_ns = -1

    def decide(
        self, target: Target, error_x: float, error_y: float, seen_ns: int, at_ns: int, delay_ns: int | None = None
    ) -> int:
        """Return the button when the crosshair, off by this many pixels, is on the target.

        :param seen_ns: when the picture of the target was.
        :param at_ns: when this frame was: the time of a shot.
        :param delay_ns: the next shot waits until a picture shows what the last one did, this long after it; None does
            not wait.
        """
        s = self._settings
        self._next_shot_ns = self._shot_ns
        self._next_pressed = False
        if s.fire == "never" or not self._ready(seen_ns, delay_ns):
            return 0
        half_width = (target.box[2] - target.box[0]) / 2 * s.fire_within
        half_height = (target.box[3] - target.box[1]) / 2 * s.fire_within
        on_target = abs(error_x) <= half_width and (abs(error_y) <= half_height or not self._vertical)
        self._next_pressed = on_target and not (s.fire == "tap" and self._pressed)
        if self._next_pressed:
            self._next_shot_ns = at_ns
        return LEFT if self._next_pressed else 0

    def rest(self) -> None:
        """Do not fire in this frame."""
        self._next_pressed, self._next_shot_ns = False, self._shot_ns

    def commit(self, carried_out: bool) -> None:
        """Make the last decision's changes hold, unless it was held back."""
        if carried_out:
            self._pressed, self._shot_ns = self._next_pressed, self._next_shot_ns

    def _ready(self, seen_ns: int, delay_ns: int | None) -> bool:
        if delay_ns is None and not self._pause_ns:
            return True
        return self._shot_ns < 0 or seen_ns > self._shot_ns + max(delay_ns or 0, self._pause_ns)
