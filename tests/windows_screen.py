"""What a person would see and do at a Windows desktop: the same as `tests.plugins.test_screen.Screen` on X11."""

from __future__ import annotations

import ctypes
import threading
from ctypes import wintypes
from typing import Any

from agent.types import LEFT, MIDDLE, RIGHT

BUTTONS = ((LEFT, 0x01), (RIGHT, 0x02), (MIDDLE, 0x04))
KEYS = {"Shift_L": (0xA0, 0x2A), "Pause": (0x13, 0x45), "Control_L": (0xA2, 0x1D)}
"""Virtual-key and scan codes."""
KEY_UP = 2
POPUP_VISIBLE = 0x90000000
SHOW = 5
REMOVE = 1
LONG_PTR = ctypes.c_ssize_t


class WindowsScreen:
    """The pointer, the buttons, keys and windows."""

    def __init__(self) -> None:
        self.user32: Any = ctypes.windll.user32  # type: ignore[attr-defined,unused-ignore]
        self.user32.CreateWindowExW.restype = wintypes.HWND
        texts = [wintypes.DWORD, wintypes.LPCWSTR, wintypes.LPCWSTR, wintypes.DWORD]
        handles = [wintypes.HWND, wintypes.HMENU, wintypes.HINSTANCE, wintypes.LPVOID]
        self.user32.CreateWindowExW.argtypes = [*texts, *[ctypes.c_int] * 4, *handles]
        self.user32.DefWindowProcW.restype = LONG_PTR
        self.user32.DefWindowProcW.argtypes = [wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM]

    def pointer(self) -> tuple[int, int]:
        point = wintypes.POINT()
        self.user32.GetCursorPos(ctypes.byref(point))
        return point.x, point.y

    def put_pointer(self, x: int, y: int) -> None:
        self.user32.SetCursorPos(x, y)

    def buttons(self) -> int:
        return sum(mask for mask, code in BUTTONS if self.user32.GetAsyncKeyState(code) & 0x8000)

    def key(self, name: str, press: bool) -> None:
        code, scan = KEYS[name]
        self.user32.keybd_event(code, scan, 0 if press else KEY_UP, 0)

    def window(self, title: str, left: int, top: int, width: int, height: int, pixel: int) -> Pumped:
        return Pumped(self.user32, title, (left, top, width, height), pixel)

    def close(self) -> None:
        pass


class Pumped:
    """A window of one colour, on a thread of its own that reads its messages."""

    def __init__(self, user32: Any, title: str, place: tuple[int, int, int, int], pixel: int) -> None:
        self._user32, self._title, self._place, self._pixel = user32, title, place, pixel
        self._ready, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def focus(self) -> None:
        self._user32.SetForegroundWindow(self._handle)

    def destroy(self) -> None:
        self._end.set()
        self._thread.join(5)

    def _run(self) -> None:
        procedure = ctypes.WINFUNCTYPE(LONG_PTR, wintypes.HWND, wintypes.UINT, wintypes.WPARAM, wintypes.LPARAM)  # type: ignore[attr-defined,unused-ignore]

        class WindowClass(ctypes.Structure):
            _fields_ = (
                ("style", wintypes.UINT),
                ("procedure", procedure),
                ("class_extra", ctypes.c_int),
                ("window_extra", ctypes.c_int),
                ("instance", wintypes.HINSTANCE),
                ("icon", wintypes.HANDLE),
                ("cursor", wintypes.HANDLE),
                ("brush", wintypes.HANDLE),
                ("menu", wintypes.LPCWSTR),
                ("name", wintypes.LPCWSTR),
            )

        user32, kernel32, gdi32 = self._user32, ctypes.windll.kernel32, ctypes.windll.gdi32  # type: ignore[attr-defined,unused-ignore]
        kernel32.GetModuleHandleW.restype = wintypes.HMODULE
        gdi32.CreateSolidBrush.restype = wintypes.HANDLE
        red, green, blue = self._pixel >> 16 & 255, self._pixel >> 8 & 255, self._pixel & 255
        made = WindowClass()
        made.procedure = keep = procedure(user32.DefWindowProcW)
        made.instance = kernel32.GetModuleHandleW(None)
        made.name = f"ReticleTest{id(self)}"
        made.brush = gdi32.CreateSolidBrush(blue << 16 | green << 8 | red)
        user32.RegisterClassW(ctypes.byref(made))
        self._handle = user32.CreateWindowExW(
            0, made.name, self._title, POPUP_VISIBLE, *self._place, None, None, made.instance, None
        )
        user32.ShowWindow(self._handle, SHOW)
        user32.UpdateWindow(self._handle)
        user32.SetForegroundWindow(self._handle)
        self._ready.set()
        message = wintypes.MSG()
        while not self._end.wait(0.01):
            while user32.PeekMessageW(ctypes.byref(message), None, 0, 0, REMOVE):
                user32.TranslateMessage(ctypes.byref(message))
                user32.DispatchMessageW(ctypes.byref(message))
        user32.DestroyWindow(self._handle)
        del keep
