"""The desktop's windows: which one is where, which one has the focus. X11 and Windows."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from dataclasses import dataclass
from typing import Any

from core.errors import UserError

FOLLOW_S = 0.02
"""How often a window that is followed is looked for: a picture is of its old place for no longer."""


def aware_of_scaling() -> None:
    """Have Windows give coordinates in real pixels, whatever scale a monitor has: before the first is asked for."""
    if sys.platform == "win32":
        import ctypes

        per_monitor = 2
        with contextlib.suppress(AttributeError, OSError):  # before Windows 8.1, or set by somebody already
            ctypes.windll.shcore.SetProcessDpiAwareness(per_monitor)


@dataclass(frozen=True)
class Window:
    """A visible window: its contents' place on the screen, pixels."""

    handle: int
    title: str
    left: int
    top: int
    width: int
    height: int


def find_window(title: str) -> Window:
    """Return the visible window whose title is `title`, else the first whose title contains it.

    :raises UserError: there is none, or the window system is not supported.
    """
    aware_of_scaling()
    windows = _windows_win32() if sys.platform == "win32" else _windows_x11()
    wanted = title.casefold()
    for fits in (lambda name: name == wanted, lambda name: wanted in name):
        for window in windows:
            if fits(window.title.casefold()):
                return window
    names = ", ".join(repr(window.title) for window in windows[:8]) or "none"
    raise UserError(f"no window has {title!r} in its title; there are: {names}")


class FollowedWindow:
    """Keeps track of where a window is, on a thread of its own.

    :param window: as it was found.
    """

    def __init__(self, window: Window) -> None:
        self.place: Window | None = window
        """Where it is now; None while it is minimised or hidden."""
        self.closed = False
        self._handle, self._title = window.handle, window.title
        self._display = None if sys.platform == "win32" else _display()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="window", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join(2.0)
        if self._display is not None:
            with contextlib.suppress(Exception):  # the display went first
                self._display.close()

    def _follow(self) -> None:
        while not self._end.wait(FOLLOW_S):
            try:
                self.place = self._now()
            except Exception:  # it was closed, or the display went: each window system has its own
                self.place, self.closed = None, True
                return

    def _now(self) -> Window | None:
        if sys.platform == "win32":
            import ctypes

            if not ctypes.windll.user32.IsWindow(self._handle):
                raise UserError(f"the window {self._title!r} was closed")
            return _win32_window(self._handle)
        display: Any = self._display
        return _x11_window(display, display.create_resource_object("window", self._handle), self._title)


class FocusedWindow:
    """Reads the title of the window that has the focus.

    :raises UserError: the window system is not supported or cannot be reached.
    """

    def __init__(self) -> None:
        self._display = None if sys.platform == "win32" else _display()

    def title(self) -> str:
        """Return the title, empty when no window has the focus."""
        if sys.platform == "win32":
            import ctypes

            return _win32_title(ctypes.windll.user32.GetForegroundWindow())
        display: Any = self._display
        window = display.get_input_focus().focus
        while hasattr(window, "query_tree"):  # the focus may be on a child that has no title itself
            name = _x11_title(display, window)
            if name:
                return name
            parent = window.query_tree().parent
            if not hasattr(parent, "query_tree"):
                break
            window = parent
        return ""

    def close(self) -> None:
        """Leave the window system."""
        if self._display is not None:
            with contextlib.suppress(Exception):  # the display went first
                self._display.close()


def _display() -> Any:
    if sys.platform == "darwin" or "DISPLAY" not in os.environ:
        raise UserError("windows can be found on X11 and on Windows only, and there is no X11 display here (DISPLAY)")
    from Xlib import display, error

    try:
        return display.Display()
    except (error.DisplayError, OSError) as problem:
        raise UserError(f"the display {os.environ['DISPLAY']} cannot be reached: {problem}") from problem


def _windows_x11() -> list[Window]:
    from Xlib import error

    display = _display()
    found = []
    try:
        waiting = list(display.screen().root.query_tree().children)
        while waiting:
            window = waiting.pop(0)
            try:
                name = _x11_title(display, window)
                place = _x11_window(display, window, name) if name else None
                if place is not None:
                    found.append(place)
                waiting.extend(window.query_tree().children)
            except error.XError:
                continue  # the window went away while we looked
        return found
    finally:
        display.close()


def _x11_window(display: Any, window: Any, title: str) -> Window | None:
    """Return where a window is, None while it is not to be seen."""
    from Xlib import X

    if window.get_attributes().map_state != X.IsViewable:
        return None
    size = window.get_geometry()
    corner = window.translate_coords(display.screen().root, 0, 0)
    # The answer is where the root's corner lies as the window sees it.
    return Window(window.id, title, -corner.x, -corner.y, size.width, size.height)


def _x11_title(display: Any, window: Any) -> str:
    utf8 = window.get_full_property(display.intern_atom("_NET_WM_NAME"), 0)
    if utf8 is not None and utf8.value:
        value = utf8.value
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    name = window.get_wm_name()
    if isinstance(name, bytes):
        return name.decode("latin-1")
    return name or ""


def _windows_win32() -> list[Window]:
    import ctypes
    from ctypes import wintypes

    found: list[Window] = []

    @ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.HWND, wintypes.LPARAM)  # type: ignore[untyped-decorator,attr-defined,unused-ignore]
    def visit(handle: int, _: int) -> bool:
        window = _win32_window(handle)
        if window is not None and window.title:
            found.append(window)
        return True

    ctypes.windll.user32.EnumWindows(visit, 0)  # type: ignore[attr-defined,unused-ignore]
    return found


def _win32_window(handle: int) -> Window | None:
    """Return where a window's contents are, None while they are not to be seen."""
    import ctypes
    from ctypes import wintypes

    user32 = ctypes.windll.user32  # type: ignore[attr-defined,unused-ignore]
    if not user32.IsWindowVisible(handle) or user32.IsIconic(handle):
        return None
    box, corner = wintypes.RECT(), wintypes.POINT(0, 0)
    user32.GetClientRect(handle, ctypes.byref(box))
    user32.ClientToScreen(handle, ctypes.byref(corner))
    if not (box.right and box.bottom):
        return None
    return Window(handle, _win32_title(handle), corner.x, corner.y, box.right, box.bottom)


def _win32_title(handle: int) -> str:
    import ctypes

    user32 = ctypes.windll.user32  # type: ignore[attr-defined,unused-ignore]
    text = ctypes.create_unicode_buffer(user32.GetWindowTextLengthW(handle) + 1)
    user32.GetWindowTextW(handle, text, len(text))
    return text.value
