"""Cleaning up after an agent that was killed, which cannot do it itself.

A small process of its own holds the other end of a pipe. When the agent is gone, for whatever reason, the
pipe ends, and the process does what the agent last asked for: let mouse buttons go, or end a game.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


class Lifeline:
    """Runs this file as a script, and tells it what to do should the agent die."""

    def __init__(self) -> None:
        # In a session of its own, so that a Ctrl-C in the terminal does not end it together with the agent.
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True, bufsize=0
        )

    def ask(self, duty: str) -> None:
        """Replace what is to be done: `release 1 3` (X11 button numbers), `kill 4711`, or nothing."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):  # it was killed too; there is no one left to ask
                self._process.stdin.write(f"{duty}\n".encode())

    def close(self) -> None:
        """End it with nothing to do."""
        self.ask("")
        if self._process.stdin is not None:
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)


def main() -> None:
    """Wait for the pipe to end, then do the last duty."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    duty: list[str] = []
    for line in sys.stdin:
        duty = line.split()
    if duty[:1] == ["kill"]:
        for process in duty[1:]:
            shared = _shared_memory(process)
            with contextlib.suppress(OSError):
                os.kill(int(process), getattr(signal, "SIGKILL", signal.SIGTERM))
            for path in shared:
                path.unlink(missing_ok=True)
    elif duty[:1] == ["release"]:
        from Xlib import X, display
        from Xlib.ext import xtest

        with contextlib.suppress(Exception):  # the display went too, and its buttons with it
            connection = display.Display()
            for button in duty[1:]:
                xtest.fake_input(connection, X.ButtonRelease, int(button))
            connection.sync()


def _shared_memory(process: str) -> set[Path]:
    """Return the files in shared memory that a process has mapped, and would leave behind (Linux)."""
    try:
        lines = Path(f"/proc/{process}/maps").read_text().splitlines()
    except OSError:
        return set()
    return {Path(line.split(maxsplit=5)[5]) for line in lines if "/dev/shm/ViZDoom" in line}


if __name__ == "__main__":
    main()
