"""Actuation `uinput`: relative motion by a mouse of the kernel's, for Wayland (and for any other display of Linux)."""

from __future__ import annotations

import sys

from agent.context import Context
from agent.factories import ActuationFactory, NoSettings
from agent.hookspecs import hookimpl
from agent.types import Action
from core.errors import UserError
from plugins.desktop import uinput
from plugins.desktop.lifeline import ButtonLifeline


class UinputMouse:
    """Relative motion and buttons, and a lifeline that lets these go by the same device.

    :raises UserError: this is not Linux, the device cannot be made, or another agent has one.
    """

    def __init__(self, settings: NoSettings, context: Context) -> None:
        if not sys.platform.startswith("linux"):
            raise UserError("the actuation uinput is Linux' own; use mouse")
        self._device = uinput.device()
        self._down = 0
        self.lifeline = ButtonLifeline(context.watchdog_ms, self.release, f"uinput:{self._device.fd}")

    def apply(self, action: Action) -> None:
        """Send one motion and the changes of the buttons.

        :raises UserError: the device is gone.
        """
        changed = action.buttons ^ self._down
        events = [
            (uinput.EV_REL, code, by) for code, by in ((uinput.REL_X, action.dx), (uinput.REL_Y, action.dy)) if by
        ]
        events += [
            (uinput.EV_KEY, code, int(bool(action.buttons & mask)))
            for mask, code in uinput.BUTTONS.items()
            if changed & mask
        ]
        self._down |= action.buttons  # before pressing: a release that comes in between must let it go
        self.lifeline.hold(self._down)
        try:
            uinput.send(self._device.fd, *events)
        except OSError as error:
            raise UserError(f"the device that moves the mouse is gone: {error}") from error
        self._down = action.buttons
        self.lifeline.hold(action.buttons)

    def release(self) -> None:
        """Let every button go."""
        uinput.let_go(self._device.fd, self._down)
        self._down = 0
        self.lifeline.hold(0)

    def close(self) -> None:
        """End the lifeline, take the device away, and give the mouse back."""
        self.lifeline.close()
        self._device.close()


@hookimpl
def reticle_actuation() -> ActuationFactory:
    """Offer `uinput`."""
    return ActuationFactory("uinput", UinputMouse, NoSettings, "Linux: relative motion by a mouse of the kernel's")
