"""The aim controller: from a target to an action: proportional, PID or predictive (see agent/motion.py)."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent.errors import UserError
from agent.motion import Motions, Tracked, track
from agent.types import IDLE, LEFT, Action, Frame, Target

IN_VIEW = 0.9
"""A target nearer to the picture's edge than this part of its half is not sure to be in it."""
MOST_COAST_NS = 2_000_000_000
MOST_PERIOD_NS = 200_000_000
"""Frames farther apart than this do not follow each other: nothing is known of what was between them."""
FIRST_PERIOD_S = 1 / 60
"""What a limited turn takes for the time of a first frame."""
MOST_SUM = 10.0
"""The largest sum of errors that `pid` keeps, degrees times seconds, so that it does not wind up."""
SAFE_GAIN = 0.3
"""The most of a method's gain that is used without calibration: a pixel is rarely more than three counts."""
JUMP_DEG = 4.0
"""A sighting this far from where the track expects it is of another target."""


class AimSettings(BaseModel):
    """How far to move for how much error, and when to fire."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["proportional", "pid", "predictive"] = Field(
        "proportional",
        description="`proportional` corrects a part of each picture's error; `pid` also by its sum and its change; "
        "`predictive` corrects what remains of it after the motions that it does not show yet, where the target will "
        "be. Without calibration all are proportional.",
    )
    integral_per_s: float = Field(0.0, ge=0, le=100, description="`pid`: the part of the error's sum over a second.")
    derivative_s: float = Field(0.0, ge=0, le=1, description="`pid`: the part of the error's change a second.")
    delay_ms: float = Field(
        0.0,
        ge=0,
        le=2000,
        description="`predictive`: from a frame to the first that shows the motion decided on it; 0 means the next.",
    )
    smoothing: float = Field(
        0.7, ge=0, lt=1, description="`predictive`: how much a track is believed over a sighting; 0 not at all."
    )
    coast_ms: float = Field(
        100.0,
        ge=0,
        le=5000,
        description="`predictive`: a target that pictures lack where it should be is aimed at for so long still.",
    )
    lead_ms: dict[str, Annotated[float, Field(ge=0, le=2000)]] = Field(
        {}, description="`predictive`: how much farther targets of a class are led, as what is shot at them flies."
    )
    lead_max_deg: float = Field(12.0, ge=0, le=90, description="`predictive`: the farthest that a target is led.")
    gain: float = Field(
        0.3,
        gt=0,
        le=2,
        description="The part of the aim error that one action corrects. Without calibration `pid` and `predictive` "
        "use 0.3 at the most.",
    )
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
    max_deg_per_s: float | None = Field(
        None, gt=0, description="The fastest turn (needs calibration; not for an absolute actuation)."
    )
    max_deg_per_s2: float | None = Field(
        None, gt=0, description="How fast a turn may become faster or slower (needs calibration)."
    )
    search_deg: float = Field(
        0.0, description="Turn by this much for each frame without a target, degrees (needs calibration)."
    )
    fire: Literal["never", "tap", "hold"] = Field(
        "never",
        description="`tap` presses for one frame and lets go for the next, `hold` presses as long as the "
        "crosshair is on the target.",
    )
    fire_pause_ms: float = Field(
        0.0, ge=0, le=10_000, description="`predictive`: the least time from a shot to the picture of the next."
    )
    fire_within: float = Field(
        0.8,
        gt=0,
        le=1,
        description="How far from the aim point counts as on the target, as a part of the box's half size.",
    )

    @property
    def calibrated(self) -> bool:
        """Whether errors can be turned into degrees and degrees into counts."""
        return self.fov_deg is not None and self.degrees_per_count is not None

    def motions(self) -> Motions:
        """Return where to keep what was sent."""
        return Motions(int(self.delay_ms * 1e6))

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
    def _degrees_need_calibration(self) -> AimSettings:
        for name in ("search_deg", "fov_deg", "max_deg_per_s", "max_deg_per_s2"):
            if getattr(self, name) and self.degrees_per_count is None:
                raise ValueError(f"{name} is in degrees, so degrees_per_count must be set too")
        for name in ("max_deg_per_s", "max_deg_per_s2"):
            if getattr(self, name) and self.fov_deg is None:
                raise ValueError(f"{name} limits degrees, so fov_deg must be set too")
        return self


class AimController:
    """Target to action; parts of a count are carried over.

    Deterministic: the same targets in the same order at the same times give the same actions.

    :param absolute: the actuation goes to a point on the screen, so the crosshair follows at once.
    :param motions: where it keeps what it sent, for others to know.
    :param names: the detector's classes.
    :raises UserError: `lead_ms` names a class that is not among them.
    """

    def __init__(
        self,
        settings: AimSettings,
        absolute: bool = False,
        motions: Motions | None = None,
        names: Sequence[str] = (),
    ) -> None:
        self._settings = settings
        self._absolute = absolute
        self._delay_ns = int(settings.delay_ms * 1e6)
        self._pause_ns = int(settings.fire_pause_ms * 1e6)
        self._motions = motions or settings.motions()
        self._lead_ns = {
            class_index(name, names, "aim.lead_ms"): int(ms * 1e6) for name, ms in settings.lead_ms.items()
        }
        self._begin(-1)

    def _begin(self, episode: int) -> None:
        self._motions.begin(episode)
        self._carry_x = self._carry_y = 0.0
        self._pressed = False
        self._track: Tracked | None = None
        self._shot_ns = -1
        self._lag_ns = self._missed_ns = 0
        self._last_ns = self._period_ns = self._ahead_ns = 0
        self._since_s = FIRST_PERIOD_S
        self._sum_x = self._sum_y = 0.0
        self._error: tuple[float, float] | None = None
        self._speed_x = self._speed_y = 0.0
        self._acted = IDLE
        self._before = self._held()

    def act(self, target: Target | None, frame: Frame) -> Action:
        """Return the action for this frame."""
        if frame.episode != self._motions.episode:
            self._begin(frame.episode)
        self._time(frame.at_ns)
        self._before = self._held()
        if target is None:
            self._error = None
            self._sum_x = self._sum_y = 0.0
            action = self._coast(frame) or self._search()
        elif not math.isfinite(target.error_x + target.error_y):
            raise ValueError(f"the selection gave a target whose aim error is no number: {target}")
        elif self._absolute:
            point = (round(frame.origin[0] + target.aim_x), round(frame.origin[1] + target.aim_y))
            action = Action(0, 0, self._fire(target, 0.0, 0.0), point)
        elif self._settings.method == "predictive" and self._settings.calibrated:
            action = self._predictive(target, frame)
        elif self._settings.method == "pid" and self._settings.calibrated:
            action = self._pid(target, frame)
        else:
            action = self._proportional(target, frame)
        scale = self._settings.degrees_per_count or 0.0
        self._motions.send(frame.at_ns, action.dx * scale, action.dy * scale)
        self._acted = action
        return action

    def vetoed(self) -> None:
        """Take the last action back, and all that it changed here: it was not carried out."""
        self._motions.take_back()
        if not self._acted.idle:
            self._pressed, self._shot_ns, self._carry_x, self._carry_y, self._sum_x, self._sum_y = self._before
            self._speed_x = self._speed_y = 0.0

    def _held(self) -> tuple[bool, int, float, float, float, float]:
        """Return what an action changes."""
        return self._pressed, self._shot_ns, self._carry_x, self._carry_y, self._sum_x, self._sum_y

    def _time(self, at_ns: int) -> None:
        """Take the time since the last frame: what is told from it, and what a limited turn may use of it."""
        period_ns = at_ns - self._last_ns
        if self._last_ns:
            self._since_s = max(0, min(period_ns, MOST_PERIOD_NS)) / 1e9
        self._period_ns = period_ns if self._last_ns and 0 < period_ns < MOST_PERIOD_NS else 0
        self._last_ns = at_ns

    def _proportional(self, target: Target, frame: Frame) -> Action:
        s = self._settings
        buttons = self._fire(target, target.error_x, target.error_y)
        x, y = self._outside(target)
        if not s.calibrated:  # a pixel of error is one count, times the gain
            gain = s.gain if s.method == "proportional" else min(s.gain, SAFE_GAIN)
            return Action(*self._whole(gain * x, gain * y if s.vertical else 0.0), buttons)
        f = s.focal_px(frame.width)
        return self._turn(s.gain * math.degrees(math.atan(x / f)), s.gain * math.degrees(math.atan(y / f)), buttons)

    def _outside(self, target: Target) -> tuple[float, float]:
        """Return the aim error, pixels, without what is too small to be corrected."""
        least = self._settings.deadband_px
        x, y = target.error_x, target.error_y
        return x if abs(x) >= least else 0.0, y if abs(y) >= least else 0.0

    def _pid(self, target: Target, frame: Frame) -> Action:
        s = self._settings
        f = s.focal_px(frame.width)
        seconds = self._period_ns / 1e9
        x, y = (math.degrees(math.atan(error / f)) for error in self._outside(target))
        if self._error is not None and math.hypot(x - self._error[0], y - self._error[1]) > JUMP_DEG:
            self._error = None  # another target
            self._sum_x = self._sum_y = 0.0
        self._sum_x, self._sum_y = (
            max(-MOST_SUM, min(MOST_SUM, total + error * seconds))
            for total, error in ((self._sum_x, x), (self._sum_y, y))
        )
        last_x, last_y = self._error or (x, y)
        self._error = (x, y)
        change_x, change_y = ((x - last_x) / seconds, (y - last_y) / seconds) if seconds else (0.0, 0.0)
        return self._turn(
            s.gain * x + s.integral_per_s * self._sum_x + s.derivative_s * change_x,
            s.gain * y + s.integral_per_s * self._sum_y + s.derivative_s * change_y,
            self._fire(target, target.error_x, target.error_y),
        )

    def _predictive(self, target: Target, frame: Frame) -> Action:
        s = self._settings
        f = s.focal_px(frame.width)
        seen_ns = target.at_ns or frame.at_ns
        self._lag_ns, self._missed_ns = frame.at_ns - seen_ns, 0
        shown_x, shown_y = self._motions.shown(seen_ns)
        at_x = shown_x + math.degrees(math.atan(target.error_x / f))
        at_y = shown_y + math.degrees(math.atan(target.error_y / f))
        self._track = track(self._track, seen_ns, at_x, at_y, s.smoothing, JUMP_DEG)
        self._ahead_ns = self._lead_ns.get(target.class_id, 0)
        (rest_x, rest_y), (step_x, step_y) = self._rest(self._track, frame)
        off_x, off_y = rest_x - step_x, rest_y - step_y
        px_x, px_y = (f * math.tan(math.radians(max(-80.0, min(80.0, off)))) for off in (off_x, off_y))
        # The next shot waits until a picture shows what the last one did.
        may_fire = self._shot_ns < 0 or seen_ns > self._shot_ns + max(self._delay_ns, self._pause_ns)
        buttons = self._fire(target, px_x, px_y) if may_fire else self._let_go()
        if buttons:
            self._shot_ns = frame.at_ns
        return self._turn(
            step_x + (s.gain * off_x if abs(px_x) >= s.deadband_px else 0.0),
            step_y + (s.gain * off_y if abs(px_y) >= s.deadband_px else 0.0),
            buttons,
        )

    def _turn(self, x_deg: float, y_deg: float, buttons: int = 0) -> Action:
        """Return the action that turns by so much, within the limits."""
        s = self._settings
        assert s.degrees_per_count is not None
        if s.max_deg_per_s is not None or s.max_deg_per_s2 is not None:
            self._speed_x = self._limited(x_deg, self._speed_x)
            self._speed_y = self._limited(y_deg, self._speed_y)
            x_deg, y_deg = self._speed_x * self._since_s, self._speed_y * self._since_s
        per_degree = 1 / s.degrees_per_count
        return Action(*self._whole(x_deg * per_degree, y_deg * per_degree if s.vertical else 0.0), buttons)

    def _limited(self, turn_deg: float, last: float) -> float:
        """Return the speed of a frame's turn, degrees a second, within the fastest and near enough to the last one."""
        s, seconds = self._settings, self._since_s
        speed = turn_deg / seconds if seconds else 0.0
        if s.max_deg_per_s2 is not None:
            most = s.max_deg_per_s2 * seconds
            speed = max(last - most, min(last + most, speed))
        if s.max_deg_per_s is not None:
            speed = max(-s.max_deg_per_s, min(s.max_deg_per_s, speed))
        return speed

    def _rest(self, tracked: Tracked, frame: Frame) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return what is left to turn, degrees, until the first picture that shows this frame's motion.

        And how much of it the target will have moved since the picture before, which is turned whole: with a part of it
        alone the view would stay behind a moving target for ever.
        """
        most = self._settings.lead_max_deg
        at_ns = frame.at_ns + max(self._delay_ns, self._period_ns) + self._ahead_ns
        x, y = tracked.ahead(at_ns, most)
        before_x, before_y = tracked.ahead(at_ns - self._period_ns, most)
        return (x - self._motions.view[0], y - self._motions.view[1]), (x - before_x, y - before_y)

    def _coast(self, frame: Frame) -> Action | None:
        """Go on to a target that was seen before; None when there is none, or pictures show that it is gone.

        A late picture may be of a moment when the view was elsewhere: that it lacks the target says nothing.
        """
        s = self._settings
        if self._track is None:  # as it always is where aim is not predictive
            return None
        picture_ns = frame.at_ns - self._lag_ns
        x, _ = self._track.ahead(picture_ns, s.lead_max_deg)
        off = abs(x - self._motions.shown(picture_ns)[0])
        if off < s.half_view_deg(frame.width) * IN_VIEW:
            self._missed_ns = self._missed_ns or frame.at_ns
            if frame.at_ns - self._missed_ns >= s.coast_ms * 1e6:
                self._track = None
                return None
        if frame.at_ns - self._track.at_ns > MOST_COAST_NS:
            self._track = None
            return None
        self._pressed = False
        (rest_x, rest_y), (step_x, step_y) = self._rest(self._track, frame)
        return self._turn(step_x + s.gain * (rest_x - step_x), step_y + s.gain * (rest_y - step_y))

    def _whole(self, dx: float, dy: float) -> tuple[int, int]:
        limit = self._settings.max_counts
        x, y = dx + self._carry_x, dy + self._carry_y
        whole_x, whole_y = round(x), round(y)
        self._carry_x, self._carry_y = x - whole_x, y - whole_y
        return max(-limit, min(limit, whole_x)), max(-limit, min(limit, whole_y))

    def _fire(self, target: Target, error_x: float, error_y: float) -> int:
        """Return the button when the crosshair, off by this many pixels, is on the target."""
        s = self._settings
        if s.fire == "never":
            return 0
        half_width = (target.box[2] - target.box[0]) / 2 * s.fire_within
        half_height = (target.box[3] - target.box[1]) / 2 * s.fire_within
        on_target = abs(error_x) <= half_width and (abs(error_y) <= half_height or not s.vertical)
        self._pressed = on_target and not (s.fire == "tap" and self._pressed)
        return LEFT if self._pressed else 0

    def _let_go(self) -> int:
        self._pressed = False
        return 0

    def _search(self) -> Action:
        self._pressed = False
        s = self._settings
        if not s.search_deg or s.degrees_per_count is None or self._absolute:
            self._speed_x = self._speed_y = 0.0
            return IDLE
        return self._turn(s.search_deg, 0.0)


def how_to_calibrate(profile: Path) -> str:
    """Return what tells a user how to come by the figures that degrees need."""
    return f"`agent.py calibrate --profile {profile} --live` finds fov_deg and degrees_per_count"


def class_index(name: str, names: Sequence[str], where: str) -> int:
    """Return a class's number.

    :raises UserError: the detector does not know it; the message names the nearest that it knows.
    """
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"it knows: {', '.join(names[:20])}"
    raise UserError(f'{where}: the detector knows no class "{name}"; {hint}')
