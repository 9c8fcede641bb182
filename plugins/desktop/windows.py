"""The desktop's windows: which one is where, which one has the focus. X11 and Windows."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from core.errors import UserError


def find_window(title: str) -> dict[str, int]:
    """Return left, top, width, height (pixels) of the first visible window whose title contains `title`.

    :raises UserError: there is none, or the window system is not supported.
    """
    windows = _windows_win32() if sys.platform == "win32" else _windows_x11()
    for name, place in windows:
        if title.casefold() in name.casefold():
            return place
    names = ", ".join(repr(name) for name, _ in windows[:8]) or "none"
    raise UserError(f"no window has {title!r} in its title; there are: {names}")


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


def _windows_x11() -> list[tuple[str, dict[str, int]]]:
    from Xlib import X, error

    display = _display()
    found = []
    try:
        root = display.screen().root
        waiting = list(root.query_tree().children)
        while waiting:
            window = waiting.pop(0)
            try:
                name = _x11_title(display, window)
                if name and window.get_attributes().map_state == X.IsViewable:
                    size = window.get_geometry()
                    corner = window.translate_coords(root, 0, 0)
                    # The answer is where the root's corner lies as the window sees it.
                    place = {"left": -corner.x, "top": -corner.y, "width": size.width, "height": size.height}
                    found.append((name, place))
                waiting.extend(window.query_tree().children)
            except error.XError:
                continue  # the window went away while we looked
        return found
    finally:
        display.close()


def _x11_title(display: Any, window: Any) -> str:
    utf8 = window.get_full_property(display.intern_atom("_NET_WM_NAME"), 0)
    if utf8 is not None and utf8.value:
        value = utf8.value
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    name = window.get_wm_name()
    if isinstance(name, bytes):
        return name.decode("latin-1")
    return name or ""


def _windows_win32() -> list[tuple[str, dict[str, int]]]:
    import ctypes
    from ctypes import wintypes

    user32 = ctypes.windll.user32  # type: ignore[attr-defined,unused-ignore]
    found: list[tuple[str, dict[str, int]]] = []

    @ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.HWND, wintypes.LPARAM)  # type: ignore[untyped-decorator,attr-defined,unused-ignore]
    def visit(handle: int, _: int) -> bool:
        if user32.IsWindowVisible(handle):
            box, corner = wintypes.RECT(), wintypes.POINT(0, 0)
            user32.GetClientRect(handle, ctypes.byref(box))
            user32.ClientToScreen(handle, ctypes.byref(corner))
            place = {"left": corner.x, "top": corner.y, "width": box.right, "height": box.bottom}
            if (name := _win32_title(handle)) and box.right and box.bottom:
                found.append((name, place))
        return True

    user32.EnumWindows(visit, 0)
    return found


def _win32_title(handle: int) -> str:
    import ctypes

    user32 = ctypes.windll.user32  # type: ignore[attr-defined,unused-ignore]
    text = ctypes.create_unicode_buffer(user32.GetWindowTextLengthW(handle) + 1)
    user32.GetWindowTextW(handle, text, len(text))
    return text.value
