"""Letting mouse buttons go, from whichever process, and the claim that one agent alone has the mouse."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from agent.types import LEFT, MIDDLE, RIGHT
from core.display import connected
from core.errors import UserError

X11_NUMBERS = {LEFT: 1, MIDDLE: 2, RIGHT: 3}
WINDOWS_DOWN_UP = {LEFT: (0x0002, 0x0004), RIGHT: (0x0008, 0x0010), MIDDLE: (0x0020, 0x0040)}
"""Flags of SendInput."""

WAY = {"win32": "windows", "darwin": "quartz"}.get(sys.platform, "x11")
"""How the mouse is moved here: `windows` by SendInput, `quartz` on macOS, `x11` by XTEST. There is also `uinput:FD`, a
device of the kernel's, by its descriptor."""

CLAIM = "_RETICLE_MOUSE"
TAKEN = "another agent has this mouse; end it first, since two would pull at one pointer"


def x11_display(purpose: str) -> Any:
    """Return a connection to the X11 display.

    :param purpose: who needs it, for the sentence.
    :raises UserError: there is none.
    """
    try:
        return connected()
    except OSError as problem:
        raise UserError(
            f"{purpose} needs an X11 display, and none can be reached ({problem}): start it in a desktop session, "
            "with DISPLAY set, or under xvfb-run"
        ) from problem


class MouseClaim:
    """Holds the mouse of a display, or of a session, for one agent.

    The system keeps it, a selection of X11's, a mutex of Windows', a lock on a file elsewhere, so it goes with the
    process that has it.

    :param way: how the mouse is moved, see `WAY`.
    :raises UserError: another agent has it, or there is no display.
    """

    def __init__(self, way: str) -> None:
        self._way = way
        self._held: Any = _CLAIMS.get(way, _file_lock)()

    def close(self) -> None:
        """Give it back."""
        if self._way == "windows":
            import ctypes

            ctypes.windll.kernel32.CloseHandle(self._held)  # type: ignore[attr-defined,unused-ignore]
        elif self._way == "x11":
            with contextlib.suppress(Exception):  # the display went first
                self._held.close()
        else:
            self._held.release()


def _x11_selection() -> Any:
    from Xlib import X

    display = x11_display("the mouse")
    atom = display.intern_atom(CLAIM)
    display.grab_server()  # between asking and taking nobody else may
    try:
        if display.get_selection_owner(atom) != X.NONE:
            raise UserError(f"{display.get_display_name()}: {TAKEN}")
        window = display.screen().root.create_window(0, 0, 1, 1, 0, X.CopyFromParent, X.InputOnly)
        window.set_selection_owner(atom, X.CurrentTime)
    except UserError:
        display.ungrab_server()
        display.close()
        raise
    display.ungrab_server()
    display.sync()
    return display


def _windows_mutex() -> Any:
    import ctypes

    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    handle = kernel32.CreateMutexW(None, False, f"Local\\{CLAIM}")
    already_exists = 183
    if kernel32.GetLastError() == already_exists:
        kernel32.CloseHandle(handle)
        raise UserError(TAKEN)
    return handle


def _file_lock() -> Any:
    from filelock import FileLock, Timeout

    user = os.getuid() if hasattr(os, "getuid") else 0
    lock = FileLock(Path(tempfile.gettempdir()) / f"{CLAIM.strip('_').lower()}-{user}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(TAKEN) from error
    return lock


_CLAIMS = {"windows": _windows_mutex, "x11": _x11_selection}


class Releaser:
    """Lets buttons go, on a connection of its own.

    :param way: how the mouse is moved, see `WAY`.
    :raises UserError: there is no display.
    """

    def __init__(self, way: str) -> None:
        name, _, number = way.partition(":")
        if name == "x11":
            self._let_go: Callable[[int], None] = _x11_release(x11_display("the lifeline"))
        elif name == "windows":
            self._let_go = _windows_release(SendInput())
        elif name == "quartz":
            from plugins.desktop.quartz import Quartz

            self._let_go = Quartz().let_go
        else:
            from plugins.desktop.uinput import let_go

            self._let_go = functools.partial(let_go, int(number))

    def release(self, buttons: int) -> bool:
        """Let the buttons of a mask go; return whether there still is a display."""
        try:
            self._let_go(buttons)
        except Exception:  # the display went, and its buttons with it
            return False
        return True


def _x11_release(display: Any) -> Callable[[int], None]:
    from Xlib import X
    from Xlib.ext import xtest

    def let_go(buttons: int) -> None:
        for mask, number in X11_NUMBERS.items():
            if buttons & mask:
                xtest.fake_input(display, X.ButtonRelease, number)
        display.sync()

    return let_go


def _windows_release(send: SendInput) -> Callable[[int], None]:
    def let_go(buttons: int) -> None:
        for mask, (_, up) in WINDOWS_DOWN_UP.items():
            if buttons & mask:
                send.event(0, 0, up)

    return let_go


class SendInput:
    """Windows' SendInput for the mouse. Raw input sees its relative motion."""

    MOVE: ClassVar = 0x0001

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

    def event(self, dx: int, dy: int, flags: int) -> None:
        """Send one event.

        :raises UserError: Windows refused the input, as it does for windows of higher integrity.
        """
        event = self._input()
        event.type = 0  # INPUT_MOUSE
        event.mi.dx, event.mi.dy, event.mi.dwFlags = dx, dy, flags
        if self._send(1, self._byref(event), self._size) != 1:
            raise UserError(
                "Windows refused the mouse input; a game that runs as administrator takes it only from an agent "
                "that does too"
            )
