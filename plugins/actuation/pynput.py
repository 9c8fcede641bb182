"""Actuation `pynput`: the desktop's pointer, put on the aim point. For programs with a visible pointer.

Games that take raw input ignore it; they need the actuation `mouse`.
"""

from __future__ import annotations

import sys
import threading

from agent.context import Context
from agent.factories import ActuationFactory, NoSettings
from agent.hookspecs import hookimpl
from agent.types import LEFT, MIDDLE, RIGHT, Action
from core.command import COMMAND
from core.errors import UserError, summary
from plugins.desktop.lifeline import ButtonLifeline


class PynputActuation:
    """Moves the pointer to `Action.point` and presses there.

    :raises UserError: there is no display, or another agent has its mouse.
    """

    def __init__(self, settings: NoSettings, context: Context) -> None:
        try:
            # pynput looks for the display when it is imported, so not before it is needed.
            from pynput import mouse
        except ModuleNotFoundError as error:
            extra = COMMAND.replace("uv run", "uv run --extra pynput")
            raise UserError(
                f"the actuation pynput needs the package pynput, which is not installed: the extra `pynput`, as in "
                f"`{extra} ...`; it builds evdev, which takes a C compiler and kernel headers"
            ) from error
        except ImportError as error:
            raise UserError(
                f"the pointer needs a display, and pynput finds none ({str(error).splitlines()[0]}): start it in "
                "a desktop session, with DISPLAY set"
            ) from error
        self._controller = mouse.Controller()
        self._spare = mouse.Controller()
        self._buttons = {LEFT: mouse.Button.left, RIGHT: mouse.Button.right, MIDDLE: mouse.Button.middle}
        self._down = self._ever = 0
        self._letting_go = threading.Lock()
        if sys.platform == "darwin":
            raise UserError("the actuation pynput does not support macOS yet: nothing there would let a button go")
        self.lifeline = ButtonLifeline(context.watchdog_ms, self.release)

    def apply(self, action: Action) -> None:
        """Go to the point, then press and release what changed.

        :raises UserError: the display went away.
        """
        try:
            if action.point is not None:
                self._controller.position = action.point
            changed = action.buttons ^ self._down
            if changed:
                self._ever |= action.buttons
                self.lifeline.hold(action.buttons | self._down)
                for mask, button in self._buttons.items():
                    if changed & mask:
                        (self._controller.press if action.buttons & mask else self._controller.release)(button)
                self._down = action.buttons
                self.lifeline.hold(action.buttons)
        except Exception as error:  # each window system has its own
            raise UserError(f"the display was lost while moving the pointer: {summary(error)}") from error

    def release(self) -> None:
        """Let every button go that was ever pressed; a display that is gone has none down."""
        if not self._letting_go.acquire(timeout=1.0):
            return
        try:
            for mask, button in self._buttons.items():
                if self._ever & mask:
                    self._spare.release(button)
            self._down = 0
            self.lifeline.hold(0)
        except Exception:
            return
        finally:
            self._letting_go.release()

    def close(self) -> None:
        """End the lifeline, and give the mouse back."""
        self.lifeline.close()


@hookimpl
def reticle_actuation() -> ActuationFactory:
    """Offer `pynput`."""
    return ActuationFactory(
        "pynput", PynputActuation, NoSettings, "the desktop's pointer, put on the aim point", absolute=True
    )
