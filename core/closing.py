"""The console's close button, log-off and shutdown on Windows, which come by no signal of Python's."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

EVENTS = {2: "the console was closed", 5: "log-off", 6: "shutdown"}
"""CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT and CTRL_SHUTDOWN_EVENT."""
GRACE_S = 4.5
"""Windows ends the process five seconds after it has told it."""

_handlers: list[object] = []
"""Windows calls them from a thread of its own, so they stay."""


@contextmanager
def told_of_closing(tell: Callable[[str], None]) -> Iterator[None]:
    """Call `tell` with the reason when Windows is about to end this process, and leave it the time to end by itself.

    Elsewhere the same things come as SIGHUP and SIGTERM.
    """
    if os.name != "nt":
        yield
        return
    import ctypes
    from ctypes import wintypes

    gone, told = threading.Event(), threading.Event()

    @ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.DWORD)  # type: ignore[untyped-decorator,attr-defined,unused-ignore]
    def handle(event: int) -> bool:
        if event not in EVENTS:
            return False
        told.set()
        tell(EVENTS[event])
        gone.wait(GRACE_S)  # the process ends as soon as this returns
        return True

    # Outputs are written after the run: until the interpreter ends there may be something left to write.
    atexit.register(gone.set)
    _handlers.append(handle)
    kernel32 = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    kernel32.SetConsoleCtrlHandler(handle, True)
    try:
        yield
    finally:
        if not told.is_set():  # else it is still waiting for the outputs, in a thread of Windows'
            kernel32.SetConsoleCtrlHandler(handle, False)
