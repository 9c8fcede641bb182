"""Windows that run as administrator take no input from a program that does not, and nothing says so (UIPI)."""

from __future__ import annotations

import ctypes
from ctypes import wintypes

QUERY_LIMITED = 0x1000
TOKEN_QUERY = 0x0008
TOKEN_ELEVATION = 20


def takes_no_input(window: int) -> bool:
    """Tell whether input that this process sends to a window is dropped by Windows; call it on Windows alone."""
    windll = ctypes.windll  # type: ignore[attr-defined,unused-ignore]
    process_id = wintypes.DWORD()
    windll.user32.GetWindowThreadProcessId(window, ctypes.byref(process_id))
    windll.kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    if not process_id.value or _elevated(windll, windll.kernel32.GetCurrentProcess()):
        return False
    windll.kernel32.OpenProcess.restype = wintypes.HANDLE
    process = windll.kernel32.OpenProcess(QUERY_LIMITED, False, process_id.value)
    if not process:
        return False  # a process of the system's
    try:
        return _elevated(windll, process)
    finally:
        windll.kernel32.CloseHandle(wintypes.HANDLE(process))


def _elevated(windll: object, process: int) -> bool:
    """Tell whether a process runs as administrator; one whose token may not be read does."""
    advapi32 = windll.advapi32  # type: ignore[attr-defined]
    token = wintypes.HANDLE()
    if not advapi32.OpenProcessToken(wintypes.HANDLE(process), TOKEN_QUERY, ctypes.byref(token)):
        return True
    try:
        elevated, size = wintypes.DWORD(), wintypes.DWORD()
        arguments = (token, TOKEN_ELEVATION, ctypes.byref(elevated), ctypes.sizeof(elevated), ctypes.byref(size))
        return bool(advapi32.GetTokenInformation(*arguments)) and bool(elevated.value)
    finally:
        windll.kernel32.CloseHandle(token)  # type: ignore[attr-defined]
