"""Cleaning up after an agent that cannot do it itself, by a small process of its own.

It holds the other end of a pipe: when the agent is gone, for whatever reason, the pipe ends. It ends a game then
(`GameLifeline`), or lets mouse buttons go (`ButtonLifeline`), and the latter also while the agent is there and does not
beat: stopped (Ctrl-Z), its interpreter lock held, the machine suspended.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

from core.errors import UserError
from core.workers import module_environment

BEAT, HELD, VOID = range(3)
"""Fields of the memory that agent and lifeline share, int64 each: when the loop last showed that it goes on, the mask
of the buttons that may be down, and the time before which frames are void since the lifeline let go. All three by
`time.perf_counter_ns`, whose clock is the machine's."""
SIZE = 3 * 8
NEVER = 2**63 - 1
START_S = 20.0
GAME_VARIABLE = "RETICLE_GAME"
LOOKS = 5
"""How often a game is looked for: it may just be about to become one."""


class GameLifeline:
    """Ends a game's processes should the agent end without doing so, even while the game is starting.

    Made before the game is started, which gets `variables` into its environment: by them it is known.

    :param folder: the game's own, which goes with it.
    """

    def __init__(self, folder: Path) -> None:
        self.variables = {GAME_VARIABLE: f"{os.getpid()}-{time.perf_counter_ns()}"}
        self._process = _start(["kill", self.variables[GAME_VARIABLE], str(folder)])

    def close(self) -> None:
        """End it with nothing to do."""
        _dismiss(self._process)


class ButtonLifeline:
    """Has the mouse for this agent alone, and lets its buttons go when the loop does not beat, or the agent is gone.

    Should the lifeline itself end, `lost` is called at once, all frames are void, and it is started again.

    :param limit_ms: how long the loop may be silent.
    :param lost: called on a thread of the lifeline's.
    :param way: how the mouse is moved, see `plugins.desktop.buttons.WAY`.
    :raises UserError: it cannot be started, or another agent has the mouse.
    """

    def __init__(self, limit_ms: float, lost: Callable[[], None], way: str | None = None) -> None:
        from plugins.desktop.buttons import WAY, MouseClaim

        self._way = way or WAY
        self._claim = MouseClaim(self._way)
        self._limit_ms = limit_ms
        self._lost = lost
        self._closing = False
        self._file, self._memory = _shared_memory()
        self._fields = memoryview(self._memory).cast("q")
        self._fields[BEAT] = time.perf_counter_ns()
        try:
            self._process = self._started()
        except (UserError, OSError):
            self._claim.close()
            raise
        self._ready = True
        self._watcher = threading.Thread(target=self._watch, name="lifeline", daemon=True)
        self._watcher.start()

    def beat(self, now_ns: int) -> None:
        """Show that the loop goes on."""
        self._fields[BEAT] = now_ns

    def hold(self, buttons: int) -> None:
        """Say which buttons may be down from now on, as a mask; before pressing, and after letting go."""
        self._fields[HELD] = buttons

    def void_before_ns(self) -> int:
        """Return the time before which frames are void; `NEVER` while there is no lifeline."""
        return int(self._fields[VOID]) if self._ready else NEVER

    def close(self) -> None:
        """End it with nothing to do, and give the mouse back."""
        self._closing = True
        self._fields[HELD] = 0
        _dismiss(self._process)
        self._watcher.join(2.0)
        if self._file is not None:
            self._file.close()
        self._claim.close()

    def _started(self) -> subprocess.Popen[bytes]:
        name, handles = ("-", []) if self._file is None else (str(self._file.fileno()), [self._file.fileno()])
        _, _, device = self._way.partition(":")
        if device:
            handles = [*handles, int(device)]
        arguments = ["release", name, repr(self._limit_ms), str(os.getpid()), self._way]
        process = _start(arguments, handles, stdout=subprocess.PIPE)
        assert process.stdout is not None
        said = process.stdout.readline().decode().strip()
        if said != "ready":
            _dismiss(process)
            raise UserError(f"the process that lets mouse buttons go cannot be started: {said or 'it ended at once'}")
        return process

    def _watch(self) -> None:
        while True:
            self._process.wait()
            if self._closing:
                return
            self._ready = False
            with contextlib.suppress(Exception):  # whatever it is, a new one is started
                self._lost()
            self._fields[VOID] = time.perf_counter_ns()
            try:
                self._process = self._started()
            except (UserError, OSError):  # the display is gone, or nothing can be started: the hand stays disarmed
                return
            self._fields[VOID] = time.perf_counter_ns()
            self._ready = True


def _start(arguments: list[str], handles: Iterable[int] = (), **streams: Any) -> subprocess.Popen[bytes]:
    # In a session of its own, so that a Ctrl-C in the terminal does not end it together with the agent.
    group: dict[str, Any] = (
        # Without the agent's console, whose closing would end it too.
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}  # type: ignore[attr-defined,unused-ignore]
        if sys.platform == "win32"
        else {"start_new_session": True, "pass_fds": tuple(handles)}
    )
    command = [sys.executable, "-m", "plugins.desktop.lifeline", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, env=module_environment(), **streams, **group)


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(OSError):  # it was killed too
        process.stdin.write(b"done")
    process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(2.0)


def _shared_memory(name: str | None = None, owner: int | None = None) -> tuple[IO[bytes] | None, mmap.mmap]:
    """Return memory that both processes see, and the file that holds it: none on Windows, where it has a name."""
    if sys.platform == "win32":
        return None, mmap.mmap(-1, SIZE, tagname=f"reticle-lifeline-{owner or os.getpid()}")
    if name is not None:
        return None, mmap.mmap(int(name), SIZE)
    file = tempfile.TemporaryFile()  # noqa: SIM115 as long as the lifeline
    file.truncate(SIZE)
    return file, mmap.mmap(file.fileno(), SIZE)


def main(arguments: list[str]) -> None:
    """Be the lifeline: `kill MARK FOLDER`, or `release MEMORY LIMIT_MS OWNER WAY`."""
    for name in ("SIGINT", "SIGTSTP", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if arguments[0] == "kill":
        ended, words = _until_the_pipe_ends()
        ended.wait()
        if not words:
            _end_game(arguments[1])
            shutil.rmtree(arguments[2], ignore_errors=True)
        return
    _guard_buttons(arguments)


def _until_the_pipe_ends() -> tuple[threading.Event, bytearray]:
    """Return what is set once the pipe has ended, and what the agent had written into it: that it ends in order.

    Called when all is imported: on Windows whatever asks about a handle that is being read from waits for it.
    """
    ended, words = threading.Event(), bytearray()

    def listen() -> None:
        while chunk := os.read(0, 64):
            words.extend(chunk)
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    return ended, words


def _guard_buttons(arguments: list[str]) -> None:
    from plugins.desktop.buttons import Releaser

    _, name, limit_ms, owner, way = arguments
    _, memory = _shared_memory(name, int(owner))
    fields = memoryview(memory).cast("q")
    limit_ns = int(float(limit_ms) * 1e6)
    try:
        releaser = Releaser(way)
    except UserError as error:
        print(error, flush=True)
        return
    print("ready", flush=True)
    ended, _ = _until_the_pipe_ends()
    suspended_ns = _suspended_ns()
    while not ended.wait(limit_ns / 8e9):
        held = fields[HELD]
        asleep, suspended_ns = _suspended_ns() - suspended_ns > limit_ns, _suspended_ns()
        now_ns = time.perf_counter_ns()
        if held and (asleep or now_ns - fields[BEAT] > limit_ns):
            fields[VOID] = now_ns
            if not releaser.release(held):
                return
    if fields[HELD]:
        releaser.release(fields[HELD])


def _suspended_ns() -> int:
    """Return how long the machine has been suspended; `perf_counter_ns` stands still meanwhile (Linux)."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def _end_game(mark: str) -> None:
    import psutil

    for _ in range(LOOKS):
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get(GAME_VARIABLE) == mark:
                    shared = _mapped_by(process.pid)
                    process.kill()
                    for path in shared:
                        path.unlink(missing_ok=True)
        time.sleep(0.1)


def _mapped_by(pid: int) -> set[Path]:
    """Return the files in shared memory that a process has mapped, and would leave behind (Linux)."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    return {Path(line.split(maxsplit=5)[5]) for line in lines if "/dev/shm/ViZDoom" in line}


if __name__ == "__main__":
    main(sys.argv[1:])
