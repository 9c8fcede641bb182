"""Actuation `mouse`: relative motion, which first-person games need. XTest, SendInput, or Quartz on macOS."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from typing import Any

from agent.context import Context
from agent.factories import ActuationFactory, NoSettings
from agent.hookspecs import hookimpl
from agent.types import BUTTON_NAMES, Action
from core.errors import UserError
from plugins.desktop.buttons import WINDOWS_DOWN_UP, X11_NUMBERS, SendInput, x11_display
from plugins.desktop.elevation import takes_no_input
from plugins.desktop.lifeline import ButtonLifeline

log = logging.getLogger("reticle")


def make_mouse(settings: NoSettings, context: Context) -> Any:
    """Return the mouse of this platform.

    :raises UserError: the platform is not supported, or its window system cannot be reached.
    """
    if sys.platform == "win32":
        return SendInputMouse(context.watchdog_ms)
    if sys.platform == "darwin":
        from plugins.actuation.quartz import QuartzMouse

        return QuartzMouse(context.watchdog_ms)
    if os.environ.get("XDG_SESSION_TYPE") == "wayland" and "DISPLAY" not in os.environ:
        raise UserError(
            "the actuation mouse cannot reach Wayland's windows; use the actuation uinput, or log in to an X11 session"
        )
    return XTestMouse(context.watchdog_ms)


class XTestMouse:
    """Relative motion and buttons through the XTEST extension.

    A second connection lets buttons go, so that they go even while the first one hangs, and a lifeline does when the
    loop is silent for `limit_ms` or the agent is gone.

    :raises UserError: there is no display, it has no XTEST, or another agent has its mouse.
    """

    def __init__(self, limit_ms: float) -> None:
        from Xlib import X, error
        from Xlib.ext import xtest

        self._motion, self._press, self._release = X.MotionNotify, X.ButtonPress, X.ButtonRelease
        self._fake = xtest.fake_input
        self._lost = (error.ConnectionClosedError, error.XError, OSError)
        self._display, self._spare = x11_display("the mouse"), x11_display("the mouse")
        if not self._display.has_extension("XTEST"):
            raise UserError(f"the display {self._display.get_display_name()} has no XTEST extension")
        self._down = self._ever = 0
        self._letting_go = threading.Lock()
        self.lifeline = ButtonLifeline(limit_ms, self.release)
        # The first relative event after a window opens is lost; this one may be.
        self._fake(self._display, self._motion, detail=True, x=0, y=0)
        self._display.sync()

    def apply(self, action: Action) -> None:
        """Send one motion event, then the changes of the buttons.

        :raises UserError: the display went away.
        """
        try:
            if action.dx or action.dy:
                self._fake(self._display, self._motion, detail=True, x=action.dx, y=action.dy)
            changed = action.buttons ^ self._down
            if changed:
                self._change(action.buttons, changed)
            else:
                self._display.flush()
        except self._lost as error:
            raise UserError(f"the display was lost while moving the mouse: {error}") from error

    def release(self) -> None:
        """Let every button go that was ever pressed; a display that is gone has none down.

        Not only those that are thought to be down: another thread may be pressing one at this moment.
        """
        # Two threads in one connection can lose each other's answers and hang.
        if not self._letting_go.acquire(timeout=1.0):
            return
        try:
            for mask, number in X11_NUMBERS.items():
                if self._ever & mask:
                    self._fake(self._spare, self._release, number)
            self._spare.sync()
            self._down = 0
            self.lifeline.hold(0)
        except self._lost:
            pass
        finally:
            self._letting_go.release()

    def _change(self, buttons: int, changed: int) -> None:
        self._ever |= buttons
        self.lifeline.hold(buttons | self._down)
        for mask, number in X11_NUMBERS.items():
            if changed & mask:
                self._fake(self._display, self._press if buttons & mask else self._release, number)
        self._down = buttons
        # X keeps no order between connections: a press must have arrived before a release on the other one.
        self._display.sync()
        self.lifeline.hold(buttons)

    def close(self) -> None:
        """Leave the display."""
        self.lifeline.close()
        for connection in (self._display, self._spare):
            with contextlib.suppress(*self._lost):
                connection.close()


class SendInputMouse:
    """Relative motion and buttons through SendInput with MOUSEEVENTF_MOVE, which raw input sees.

    :raises UserError: another agent has the mouse.
    """

    def __init__(self, limit_ms: float) -> None:
        import ctypes

        self._input = SendInput()
        self._foreground = ctypes.windll.user32.GetForegroundWindow  # type: ignore[attr-defined,unused-ignore]
        self._window = self._down = 0
        self.lifeline = ButtonLifeline(limit_ms, self.release)

    def apply(self, action: Action) -> None:
        """Send one motion event, then the changes of the buttons.

        :raises UserError: Windows refused the input, as it does for windows of higher integrity.
        """
        window = self._foreground()
        if window != self._window:
            self._window = window
            self._look(window)
        if action.dx or action.dy:
            self._input.event(action.dx, action.dy, SendInput.MOVE)
        self._buttons(action.buttons)

    def release(self) -> None:
        """Let every button go."""
        self._buttons(0)

    def close(self) -> None:
        """End the lifeline, and give the mouse back."""
        self.lifeline.close()

    def _look(self, window: int) -> None:
        if window and takes_no_input(window):
            log.warning(
                "the window in front runs as administrator, so Windows drops the agent's input in silence: start the "
                "terminal as administrator too, or the game without"
            )

    def _buttons(self, wanted: int) -> None:
        changed = wanted ^ self._down
        self._down |= wanted  # before pressing: a release that comes in between must let it go
        self.lifeline.hold(self._down)
        for mask, (down, up) in WINDOWS_DOWN_UP.items():
            if changed & mask:
                self._input.event(0, 0, down if wanted & mask else up)
                self._down = (self._down & ~mask) | (wanted & mask)
        self.lifeline.hold(self._down)


assert set(X11_NUMBERS) == set(WINDOWS_DOWN_UP) == set(BUTTON_NAMES)


@hookimpl
def reticle_actuation() -> ActuationFactory:
    """Offer `mouse`."""
    return ActuationFactory(
        "mouse", make_mouse, NoSettings, "relative motion: XTest on X11, SendInput on Windows, Quartz on macOS"
    )
