"""From degrees to counts: limits on speed and acceleration, and the parts of a count that are carried over."""

from __future__ import annotations

import math

from pydantic import Field

from agent.calibration import Calibration
from agent.context import Context
from agent.factories import PluginSettings
from agent.history import CommandHistory
from agent.types import Target
from core.errors import UserError

FIRST_PERIOD_S = 1 / 60
"""What a turn takes for the time of a first frame."""
LEVELS_DEG = (0.0, -25.0, 25.0, -50.0, 50.0)
"""How far below where targets mostly are a search looks, a whole turn each, when a first turn at the height that it
began at has found nothing. Whoever was killed looks straight ahead again, of which the history knows nothing, so that
level is not where it seems."""
SEEN_DEG = 36.0
"""How much of a search a frame with a target makes undone: one alone may be a mistake."""
LEVEL_WEIGHT = 0.01
"""What a frame with a target adds to the mean of where targets are."""
LONGEST_PERIOD_NS = 200_000_000
"""Frames farther apart than this do not follow each other: nothing is known of what was between them."""


class TurnSettings(PluginSettings):
    """How far to turn for how much error."""

    gain: float = Field(
        0.3,
        gt=0,
        le=2,
        description="The part of the aim error that one action corrects. Without calibration `pid` and `predictive` "
        "use 0.3 at the most.",
    )
    vertical: bool = Field(True, description="Whether to aim up and down too.")
    deadband_px: float = Field(0.0, ge=0, description="An aim error smaller than this is left alone, pixels.")
    max_counts: int = Field(2000, gt=0, description="The most counts one action may move along an axis.")
    max_deg_per_s: float | None = Field(
        None, gt=0, description="The fastest turn (needs calibration; not for an absolute actuation)."
    )
    max_deg_per_s2: float | None = Field(
        None, gt=0, description="How fast a turn may become faster or slower (needs calibration)."
    )
    search_deg_per_s: float = Field(
        0.0,
        description="How fast to turn while there is no target, degrees a second (needs calibration); after a whole "
        "turn without one it looks where targets mostly are, up or down, then higher or lower with each further turn.",
    )


def check(settings: TurnSettings, context: Context) -> None:
    """See that what is set in degrees can be turned into counts.

    :raises UserError: it is not calibrated.
    """
    for name in ("search_deg_per_s", "max_deg_per_s", "max_deg_per_s2"):
        if getattr(settings, name) and context.calibration.degrees_per_count is None:
            raise UserError(f"{name} is in degrees, so calibration.degrees_per_count must be set too")
    for name in ("max_deg_per_s", "max_deg_per_s2"):
        if getattr(settings, name) and not context.calibration.calibrated:
            raise UserError(f"{name} limits degrees, so calibration.fov_deg must be set too")


class Turning:
    """Turns degrees into whole counts. What a turn changes holds from `commit` on, once it was carried out."""

    def __init__(self, settings: TurnSettings, calibration: Calibration, history: CommandHistory) -> None:
        self._settings = settings
        self._history = history
        self._per_count = calibration.per_count
        self._limited = settings.max_deg_per_s is not None or settings.max_deg_per_s2 is not None
        self.begin()

    def begin(self) -> None:
        """Forget everything: a new episode begins."""
        self._carry = self._next_carry = (0.0, 0.0)
        self._speed = self._next_speed = (0.0, 0.0)
        self._searched_deg = self._next_searched_deg = 0.0
        self._level_deg = self._next_level_deg = 0.0
        self._last_ns = self.period_ns = 0
        self._since_s = FIRST_PERIOD_S

    def frame(self, at_ns: int) -> None:
        """Take the time of a frame: limited turns and searches go by the time since the last one.

        `period_ns` is the time from the last frame to this one, 0 where they do not follow each other.
        """
        period_ns = at_ns - self._last_ns
        if self._last_ns:
            self._since_s = max(0, min(period_ns, LONGEST_PERIOD_NS)) / 1e9
        self.period_ns = period_ns if self._last_ns and 0 < period_ns < LONGEST_PERIOD_NS else 0
        self._last_ns = at_ns
        self._next_carry, self._next_speed = self._carry, self._speed
        self._next_searched_deg, self._next_level_deg = self._searched_deg, self._level_deg

    def degrees(self, x_deg: float, y_deg: float) -> tuple[int, int]:
        """Return the counts that turn by so much, within the limits."""
        assert self._per_count is not None
        if self._limited:
            speed_x, speed_y = self._limit(x_deg, self._speed[0]), self._limit(y_deg, self._speed[1])
            self._next_speed = (speed_x, speed_y)
            x_deg, y_deg = speed_x * self._since_s, speed_y * self._since_s
        scale = self._history.scale
        per_x, per_y = 1 / (self._per_count[0] * scale[0]), 1 / (self._per_count[1] * scale[1])
        return self.counts(x_deg * per_x, y_deg * per_y)

    def counts(self, dx: float, dy: float) -> tuple[int, int]:
        """Return whole counts, within the limit; what is left over is added to the next turn."""
        limit = self._settings.max_counts
        x, y = dx + self._carry[0], (dy if self._settings.vertical else 0.0) + self._carry[1]
        whole_x, whole_y = round(x), round(y)
        self._next_carry = (x - whole_x, y - whole_y)
        return max(-limit, min(limit, whole_x)), max(-limit, min(limit, whole_y))

    def search(self) -> tuple[int, int]:
        """Return the counts of a frame without a target."""
        if not self._settings.search_deg_per_s or self._per_count is None:
            self._next_speed = (0.0, 0.0)
            return 0, 0
        step = self._settings.search_deg_per_s * self._since_s
        turns, down = int(self._searched_deg // 360), 0.0
        if turns:
            level = self._level_deg + LEVELS_DEG[(turns - 1) % len(LEVELS_DEG)]
            down = max(-abs(step), min(abs(step), level - self._history.view[1]))
        dx, dy = self.degrees(step, down)
        self._next_searched_deg = self._searched_deg + abs(dx * self._per_count[0] * self._history.scale[0])
        return dx, dy

    def aiming(self) -> None:
        """Take note that this frame has a target."""
        self._next_searched_deg = max(0.0, self._searched_deg - SEEN_DEG)
        self._next_level_deg += LEVEL_WEIGHT * (self._history.view[1] - self._level_deg)

    def commit(self, carried_out: bool) -> None:
        """Make the last turn's changes hold; one that was held back leaves the mouse at rest."""
        if carried_out:
            self._carry, self._speed = self._next_carry, self._next_speed
            self._searched_deg, self._level_deg = self._next_searched_deg, self._next_level_deg
        else:
            self._speed = (0.0, 0.0)

    def _limit(self, turn_deg: float, last: float) -> float:
        """Return the speed of a frame's turn, degrees a second, within the fastest and near enough to the last one."""
        s, seconds = self._settings, self._since_s
        speed = turn_deg / seconds if seconds else 0.0
        if s.max_deg_per_s2 is not None:
            change = s.max_deg_per_s2 * seconds
            speed = max(last - change, min(last + change, speed))
        if s.max_deg_per_s is not None:
            speed = max(-s.max_deg_per_s, min(s.max_deg_per_s, speed))
        return speed


def outside_deadband(target: Target, deadband_px: float) -> tuple[float, float]:
    """Return the aim error, pixels, without what is too small to be corrected."""
    x, y = target.error_x, target.error_y
    return x if abs(x) >= deadband_px else 0.0, y if abs(y) >= deadband_px else 0.0


def angle_deg(error_px: float, focal_px: float) -> float:
    """Return the angle of an aim error, degrees."""
    return math.degrees(math.atan(error_px / focal_px))
