"""Actuation `pynput`: the desktop's pointer, put on the aim point. For programs with a visible pointer.

Games that take raw input ignore it; they need the actuation `mouse`.
"""

from __future__ import annotations

from agent.errors import UserError
from agent.hookspecs import Context, Maker, NoSettings, hookimpl
from agent.types import LEFT, MIDDLE, RIGHT, Action


class PynputActuation:
    """Moves the pointer to `Action.point` and presses there.

    :raises UserError: there is no display.
    """

    def __init__(self, settings: NoSettings, context: Context) -> None:
        try:
            # pynput looks for the display when it is imported, so not before it is needed.
            from pynput import mouse
        except ImportError as error:
            raise UserError(
                f"the pointer needs a display, and pynput finds none ({str(error).splitlines()[0]}): start it in "
                "a desktop session, with DISPLAY set"
            ) from error
        self._controller = mouse.Controller()
        self._spare = mouse.Controller()
        self._buttons = {LEFT: mouse.Button.left, RIGHT: mouse.Button.right, MIDDLE: mouse.Button.middle}
        self._down = 0

    def apply(self, action: Action) -> None:
        """Go to the point, then press and release what changed."""
        if action.point is not None:
            self._controller.position = action.point
        changed, self._down = action.buttons ^ self._down, action.buttons
        for mask, button in self._buttons.items():
            if changed & mask:
                (self._controller.press if action.buttons & mask else self._controller.release)(button)

    def release(self) -> None:
        """Let every button go."""
        down, self._down = self._down, 0
        for mask, button in self._buttons.items():
            if down & mask:
                self._spare.release(button)


@hookimpl
def reticle_actuation() -> Maker:
    """Offer `pynput`."""
    return Maker("pynput", PynputActuation, NoSettings, "the desktop's pointer, put on the aim point", absolute=True)
