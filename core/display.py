"""Displays for games in windows: whether there is one, and one that nobody sits at."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from core.errors import UserError
from core.workers import shielded


def check_display(who: str, remedy: str = "start it in a desktop session, or under xvfb-run") -> None:
    """See that a window can be opened.

    What opens it would crash, or wait for a minute.

    :param who: needs it, for the sentence.
    :raises UserError: there is no display, or it cannot be reached.
    """
    if sys.platform in ("win32", "darwin"):
        return
    name = os.environ.get("DISPLAY")
    if not name and os.environ.get("WAYLAND_DISPLAY"):
        return
    if not name:
        raise UserError(f"{who} needs a display, and there is none: {remedy}")
    try:
        connected().close()
    except OSError as problem:
        what = f"DISPLAY={name} cannot be reached ({problem})"
        raise UserError(f"{who} needs a display, and {what}: {remedy}") from problem


def connected() -> Any:
    """Return a connection to the X11 display that DISPLAY names.

    :raises OSError: it cannot be reached, or that is no display's name.
    """
    from Xlib import display, error

    try:
        return display.Display()
    except (
        *(error.DisplayError, error.ConnectionClosedError, error.XauthError, OSError),
        *(OverflowError, AssertionError, ValueError),  # of names that are none
    ) as problem:
        raise OSError(" ".join(str(problem).split()) or "no display is called so") from problem


@contextlib.contextmanager
def own_display(width: int = 1280, height: int = 720) -> Iterator[str]:
    """Start an X server without a screen (Xvfb), make it this process's DISPLAY, and end it afterwards.

    :param width: pixels, as `height`.
    :raises UserError: Xvfb is not installed, or does not start.
    """
    if shutil.which("Xvfb") is None:
        raise UserError(
            "there is no display, and Xvfb, which would stand in for one, is not installed: on Debian, "
            "apt install xvfb libxcb-render0 libxcb-randr0 libxcb-shm0 libxcb-xfixes0"
        )
    from Xlib import display

    reading, writing = os.pipe()
    before = os.environ.get("DISPLAY")
    with shielded():  # until there is a process to end
        server = subprocess.Popen(
            # It ends by itself when its last client does: the agent may be killed.
            [
                "Xvfb",
                "-displayfd",
                str(writing),
                "-screen",
                "0",
                f"{width}x{height}x24",
                "-nolisten",
                "tcp",
                "-terminate",
            ],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    client: Any = None
    try:
        os.close(writing)
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise UserError("Xvfb, the X server without a screen, did not start")
        os.environ["DISPLAY"] = f":{number}"
        client = display.Display()  # which keeps it running
        yield f":{number}"
    finally:
        if before is None:
            os.environ.pop("DISPLAY", None)
        else:
            os.environ["DISPLAY"] = before
        if client is not None:
            client.close()
        server.terminate()
        server.wait(10)
