"""Actuation `mouse`: relative motion, which first-person games need. XTest on X11, SendInput on Windows."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Any, ClassVar

from agent.context import Context
from agent.factories import ActuationFactory, NoSettings
from agent.hookspecs import hookimpl
from agent.types import BUTTON_NAMES, LEFT, MIDDLE, RIGHT, Action
from core.errors import UserError
from plugins.desktop.lifeline import Lifeline


def make_mouse(settings: NoSettings, context: Context) -> Any:
    """Return the mouse of this platform.

    :raises UserError: the platform is not supported, or its window system cannot be reached.
    """
    if sys.platform == "win32":
        return SendInputMouse()
    if sys.platform == "darwin":
        raise UserError("the actuation mouse does not support macOS yet; use dry-run, or pynput for the desktop")
    if os.environ.get("XDG_SESSION_TYPE") == "wayland" and "DISPLAY" not in os.environ:
        raise UserError("the actuation mouse does not support Wayland yet; log in to an X11 session")
    return XTestMouse()


class XTestMouse:
    """Relative motion and buttons through the XTEST extension.

    A second connection lets buttons go, so that they go even while the first one hangs, and a lifeline
    does when the agent is killed.

    :raises UserError: there is no display, or it has no XTEST.
    """

    NUMBERS: ClassVar = {LEFT: 1, MIDDLE: 2, RIGHT: 3}

    def __init__(self) -> None:
        from Xlib import X, display, error
        from Xlib.ext import xtest

        self._motion, self._press, self._release = X.MotionNotify, X.ButtonPress, X.ButtonRelease
        self._fake = xtest.fake_input
        self._lost = (error.ConnectionClosedError, error.XError, OSError)
        try:
            self._display, self._spare = display.Display(), display.Display()
        except (error.DisplayError, OSError) as problem:
            raise UserError(
                f"the mouse needs an X11 display, and none can be reached ({problem}): start it in a desktop "
                "session, with DISPLAY set, or under xvfb-run"
            ) from problem
        if not self._display.has_extension("XTEST"):
            raise UserError(f"the display {self._display.get_display_name()} has no XTEST extension")
        self._down = self._ever = 0
        self._letting_go = threading.Lock()
        self._lifeline = Lifeline()
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
            for mask, number in self.NUMBERS.items():
                if self._ever & mask:
                    self._fake(self._spare, self._release, number)
            self._spare.sync()
            self._down = 0
            self._lifeline.ask("")
        except self._lost:
            pass
        finally:
            self._letting_go.release()

    def _change(self, buttons: int, changed: int) -> None:
        self._ever |= buttons
        self._lifeline.ask(self._duty(buttons | self._down))
        for mask, number in self.NUMBERS.items():
            if changed & mask:
                self._fake(self._display, self._press if buttons & mask else self._release, number)
        self._down = buttons
        # X keeps no order between connections: a press must have arrived before a release on the other one.
        self._display.sync()
        self._lifeline.ask(self._duty(buttons))

    def _duty(self, buttons: int) -> str:
        held = [str(number) for mask, number in self.NUMBERS.items() if buttons & mask]
        return " ".join(["release", *held]) if held else ""

    def close(self) -> None:
        """Leave the display."""
        self._lifeline.close()
        for connection in (self._display, self._spare):
            with contextlib.suppress(*self._lost):
                connection.close()


class SendInputMouse:
    """Relative motion and buttons through SendInput with MOUSEEVENTF_MOVE, which raw input sees.

    Written to Microsoft's documentation of SendInput; not run on the machines this is developed on.
    """

    MOVE = 0x0001
    DOWN_UP: ClassVar = {LEFT: (0x0002, 0x0004), RIGHT: (0x0008, 0x0010), MIDDLE: (0x0020, 0x0040)}

    def __init__(self) -> None:
        import ctypes
        from ctypes import wintypes

        class MouseInput(ctypes.Structure):
            _fields_ = (
                ("dx", wintypes.LONG),
                ("dy", wintypes.LONG),
                ("mouseData", wintypes.DWORD),
                ("dwFlags", wintypes.DWORD),
                ("time", wintypes.DWORD),
                ("dwExtraInfo", ctypes.c_size_t),
            )

        class Input(ctypes.Structure):
            # The union in INPUT is as large as its largest member, which is MOUSEINPUT.
            _fields_ = (("type", wintypes.DWORD), ("mi", MouseInput))

        self._input = Input
        self._size = ctypes.sizeof(Input)
        self._byref = ctypes.byref
        self._send = ctypes.windll.user32.SendInput  # type: ignore[attr-defined,unused-ignore]
        self._down = 0

    def apply(self, action: Action) -> None:
        """Send one motion event, then the changes of the buttons.

        :raises UserError: Windows refused the input, as it does for windows of higher integrity.
        """
        if action.dx or action.dy:
            self._event(action.dx, action.dy, self.MOVE)
        self._buttons(action.buttons)

    def release(self) -> None:
        """Let every button go."""
        self._buttons(0)

    def _buttons(self, wanted: int) -> None:
        changed = wanted ^ self._down
        self._down |= wanted  # before pressing: a release that comes in between must let it go
        for mask, (down, up) in self.DOWN_UP.items():
            if changed & mask:
                self._event(0, 0, down if wanted & mask else up)
                self._down = (self._down & ~mask) | (wanted & mask)

    def _event(self, dx: int, dy: int, flags: int) -> None:
        event = self._input()
        event.type = 0  # INPUT_MOUSE
        event.mi.dx, event.mi.dy, event.mi.dwFlags = dx, dy, flags
        if self._send(1, self._byref(event), self._size) != 1:
            raise UserError(
                "Windows refused the mouse input; a game that runs as administrator takes it only from an agent "
                "that does too"
            )


assert set(XTestMouse.NUMBERS) == set(SendInputMouse.DOWN_UP) == set(BUTTON_NAMES)


@hookimpl
def reticle_actuation() -> ActuationFactory:
    """Offer `mouse`."""
    return ActuationFactory("mouse", make_mouse, NoSettings, "relative motion: XTest on X11, SendInput on Windows")
