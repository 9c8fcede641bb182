"""Controller `one-step`: goes all the way in one motion where the game is calibrated, and presses when it is there."""

import math

from pydantic import Field

from reticle import LEFT, Action, Context, ControllerFactory, Frame, PluginSettings, Target, UserError, hookimpl


class Settings(PluginSettings):
    """What a profile can set."""

    near_px: float = Field(6.0, gt=0, description="Press when the aim error is smaller than this, pixels.")


class OneStep:
    """Corrects the aim error that remains after the motions which the picture does not show yet.

    :raises UserError: the profile has no calibration.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        if not context.calibration.calibrated or context.calibration.per_count is None:
            raise UserError("one-step needs calibration: fov_deg and degrees_per_count in the profile")
        self._near_px = settings.near_px
        self._calibration = context.calibration
        self._per_count = context.calibration.per_count
        self._history = context.history
        self._pressed = False

    def begin(self, episode: int) -> None:
        """Forget whether the button is down."""
        self._pressed = False

    def decide(self, target: Target | None, frame: Frame) -> Action:
        """Return the motion that is still to be made; a press lasts one frame, so that each is a new one."""
        if target is None:
            return Action()
        shown = self._history.shown(target.at_ns or frame.at_ns)
        focal_px = self._calibration.focal_px(frame.width)
        counts = [
            round((math.degrees(math.atan(error / focal_px)) - (view - then)) / per_count)
            for error, view, then, per_count in zip(
                (target.error_x, target.error_y), self._history.view, shown, self._per_count, strict=True
            )
        ]
        near = math.hypot(target.error_x, target.error_y) < self._near_px
        return Action(counts[0], counts[1], LEFT if near and not self._pressed else 0)

    def sent(self, action: Action, frame: Frame) -> None:
        """Remember what was carried out, not what was wanted."""
        self._pressed = bool(action.buttons & LEFT)


@hookimpl
def reticle_controller() -> ControllerFactory:
    """Offer `one-step`."""
    return ControllerFactory("one-step", OneStep, Settings, "all the way in one motion")
