"""One run through what a real desktop must do, on any system: a table to send when something does not work.

`uv run python -m tests.desktop_smoke` takes some two minutes, opens a small window in the middle of the screen, and moves
the pointer over it. Leave mouse and keyboard alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import yaml

from agent.types import LEFT
from tests.desktop import live_profile, until
from tests.networks import small_files

ROOT = Path(__file__).resolve().parent.parent
TITLE = "Reticle's window тест"
PLACE = (590, 310, 100, 100)
BLUE = 0x3366CC
CENTRE = (640, 360)
PROFILE = live_profile(TITLE, 400)


class Desktop:
    """The system's screen, with a window on it that has the focus."""

    def __init__(self) -> None:
        if sys.platform == "win32":
            from tests.windows_screen import WindowsScreen

            self.screen: Any = WindowsScreen()
            self.put_pointer = self.screen.put_pointer
        else:
            from tests.plugins.test_screen import Screen

            self.screen = Screen()
            self.put_pointer = self._put_pointer
        self.window = self.screen.window(TITLE, *PLACE, BLUE)

    def focus(self) -> None:
        if sys.platform == "win32":
            self.window.focus()
        else:
            self.window.set_input_focus(2, 0)
            self.screen.display.sync()

    def _put_pointer(self, x: int, y: int) -> None:
        self.screen.root.warp_pointer(x, y)
        self.screen.display.sync()


TRIES = 1
"""How often each live run is made; `--tries` sets it."""


class LiveRun:
    """A live run of the agent, until it sees the window."""

    def __init__(self, desktop: Desktop, folder: Path, **changes: Any) -> None:
        self.desktop, self.folder = desktop, folder
        self.others: list[Any] = []
        folder.mkdir(parents=True)
        (folder / "live.yaml").write_text(yaml.safe_dump({**PROFILE, **changes}), encoding="utf-8")
        command = [sys.executable, str(ROOT / "agent.py"), "--profile", "live.yaml", "--live", "--report", "r.json"]
        group = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # so that Ctrl-Break reaches it alone
        with (folder / "errors").open("w") as errors, (folder / "out").open("w") as out:
            self.process = subprocess.Popen(
                [*command, "--plugin", str(ROOT / "tests" / "live_plugin.py")],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                creationflags=group,
            )
        desktop.focus()
        if not until(lambda: "found" in self.errors() or self.process.poll() is not None, 60):
            raise RuntimeError(f"it saw no window: {self.errors()[-300:]}")
        if self.process.poll() is not None:
            raise RuntimeError(self.errors()[-400:])

    def errors(self) -> str:
        return (self.folder / "errors").read_text(errors="replace")

    def arm(self) -> None:
        """Hold the arm key until the button is down."""
        self.desktop.put_pointer(*CENTRE)
        for _ in range(10):
            self.desktop.screen.key("Shift_L", press=True)
            if until(lambda: self.desktop.screen.buttons() & LEFT, 1):
                (self.folder / "armed").touch()
                return
            self.desktop.screen.key("Shift_L", press=False)
        raise RuntimeError(f"the button never went down: {self.errors()[-300:]}")

    def end(self) -> int | None:
        """End it whatever happened, the arm key up."""
        self.desktop.screen.key("Shift_L", press=False)
        for window in self.others:
            window.destroy()
        if not until(lambda: self.process.poll() is not None, 3):
            self.process.kill()
        return self.process.wait(20)


def live_case(act: Callable[[LiveRun], None], **changes: Any) -> Callable[[Desktop, Path], str]:
    """Return a step: a live run holds the button, something happens, and the button goes up within a second."""

    def step(desktop: Desktop, folder: Path) -> str:
        times_ms = [once(desktop, folder / str(i)) for i in range(TRIES)]
        if len(times_ms) == 1:
            return f"up after {times_ms[0]:.0f} ms"
        return f"up after {statistics.median(times_ms):.0f} ms, at most {max(times_ms):.0f} ({len(times_ms)} tries)"

    def once(desktop: Desktop, folder: Path) -> float:
        run = LiveRun(desktop, folder, **changes)
        try:
            run.arm()
            act(run)
            begun = time.perf_counter()
            if not until(lambda: not desktop.screen.buttons() & LEFT, 5):
                raise RuntimeError("the button stayed down")
            took_ms = (time.perf_counter() - begun) * 1e3
            if took_ms > 1000:
                raise RuntimeError(f"the button was up only after {took_ms:.0f} ms")
            return took_ms
        finally:
            run.end()

    return step


def tap(name: str) -> Callable[[LiveRun], None]:
    def act(run: LiveRun) -> None:
        run.desktop.screen.key(name, press=True)
        run.desktop.screen.key(name, press=False)

    return act


def tap_with_control(run: LiveRun) -> None:
    run.desktop.screen.key("Control_L", press=True)
    tap("Pause")(run)
    run.desktop.screen.key("Control_L", press=False)


def interrupted(run: LiveRun) -> None:
    """Ctrl-C; Windows sends only Ctrl-Break to a single process, and that where both have a console."""
    run.process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))


def focus_lost(run: LiveRun) -> None:
    run.others.append(run.desktop.screen.window("Something else", 10, 10, 50, 50, 0))


def lifeline_killed(run: LiveRun) -> None:
    for child in psutil.Process(run.process.pid).children():
        if any("lifeline" in word for word in child.cmdline()):
            child.kill()
            return
    raise RuntimeError("it has no lifeline")


def wait_for(text: str) -> Callable[[LiveRun], None]:
    def act(run: LiveRun) -> None:
        if not until(lambda: text in run.errors() or run.process.poll() is not None, 60):
            raise RuntimeError(f"it never said {text}")

    return act


def grab(desktop: Desktop, folder: Path) -> str:
    """See the window's colour where the window is found by its title."""
    from agent.context import outside_a_run
    from plugins.capture.mss import Settings, mss_capture

    capture = mss_capture(Settings(window=TITLE), outside_a_run(folder))
    frame = capture.grab()
    capture.close()
    assert frame is not None
    if frame.origin != PLACE[:2] or tuple(frame.pixels[50, 50, :3]) != (0xCC, 0x66, 0x33):
        raise RuntimeError(
            f"{frame.width}x{frame.height} at {frame.origin}, colour {frame.pixels[50, 50, :3].tolist()}"
        )
    return f"{frame.width}x{frame.height} at {frame.origin}"


def other_capture(name: str) -> Callable[[Desktop, Path], str]:
    """Return a step that grabs by a capture; one sentence that it cannot be had here is right too."""

    def step(desktop: Desktop, folder: Path) -> str:
        from agent.context import outside_a_run
        from agent.discovery import discover
        from core.errors import UserError

        factory = discover().offers["capture"][name].factory
        try:
            capture = factory.create(factory.settings(window=TITLE), outside_a_run(folder))
        except UserError as error:
            return f"cannot be had: {error}"
        try:
            times_ms = []
            for _ in range(20):
                begun = time.perf_counter()
                frame = capture.grab()
                times_ms.append((time.perf_counter() - begun) * 1e3)
        except UserError as error:
            return f"cannot be had: {error}"
        finally:
            capture.close()
        if tuple(frame.pixels[50, 50, :3]) != (0xCC, 0x66, 0x33):
            raise RuntimeError(f"colour {frame.pixels[50, 50, :3].tolist()}")
        return f"{frame.width}x{frame.height}, {statistics.median(times_ms):.1f} ms"

    return step


def sleep_error(desktop: Desktop, folder: Path) -> str:
    """How much longer than asked a sleep of a millisecond takes."""
    late_ms = []
    for _ in range(300):
        begun = time.perf_counter()
        time.sleep(0.001)
        late_ms.append((time.perf_counter() - begun) * 1e3 - 1)
    return f"late by {statistics.median(late_ms):.2f} ms, at most {max(late_ms):.2f}"


def move(desktop: Desktop, folder: Path) -> str:
    """Move by counts; a desktop's pointer acceleration may add to them."""
    from dataclasses import replace

    from agent.context import outside_a_run
    from agent.hookspecs import hookimpl  # noqa: F401
    from agent.types import Action
    from plugins.actuation.mouse import make_mouse

    mouse = make_mouse(None, replace(outside_a_run(folder), live=True))
    try:
        desktop.put_pointer(*CENTRE)
        x, y = desktop.screen.pointer()
        for _ in range(10):
            mouse.apply(Action(4, -3))
        until(lambda: desktop.screen.pointer() == (x + 40, y - 30), 2)
        now = desktop.screen.pointer()
    finally:
        mouse.close()
    if now == (x, y):
        raise RuntimeError("the pointer did not move: does the window in front run as administrator?")
    return f"40, -30 counts moved it by {now[0] - x}, {now[1] - y} pixels"


def agent(*arguments: str) -> Callable[[Desktop, Path], str]:
    """Return a step that runs commands in a folder, one for each list between `then`."""

    def step(desktop: Desktop, folder: Path) -> str:
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(ROOT / "agent.py"), *arguments]
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=300
        )
        if done.returncode:
            raise RuntimeError(f"status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
        return next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "")[:100]

    return step


def steps(folder: Path) -> Iterator[tuple[str, Callable[[Desktop, Path], str]]]:
    """Yield what is done, in order."""
    clip, picture = str(ROOT / "examples" / "doom.mp4"), str(ROOT / "examples" / "doom.jpg")
    fixed = ("--set", "detector.engine=openvino", "--set", "detector.precision=int8")
    own = ("--set", "detector.model=doom-yolov4-tiny", "--set", "selection.classes=[]")
    desktop = ("--profile", "desktop.yaml", *fixed, *own)
    small_files(folder)
    hold = {"detector": {"plugin": "blue", "fault": "hold", "frames": 0}}
    hang = {"detector": {"plugin": "blue", "fault": "hang", "frames": 0}}
    fail = {"detector": {"plugin": "blue", "fault": "raise", "frames": 0}}
    yield "help", agent("--help")
    yield "plugins", agent("plugins")
    yield "check", agent("check", "doom.yaml")
    yield (
        "detect",
        agent("detect", picture, "--model", "doom-yolov4-tiny", "--engine", "openvino", "--out", "pictures ü"),
    )
    yield (
        "convert",
        agent("convert", "--cfg", str(folder / "small.cfg"), "--weights", str(folder / "small.weights"), "--out", "mü"),
    )
    footage = ("--profile", "doom.yaml", *fixed)
    yield "play a clip, record", agent(*footage, "--footage", clip, "--record", "rec ü", "--overlay", "o ü.mp4")
    yield "replay", agent(*footage, "--footage", "rec ü", "--record", "again")
    yield "replays decide the same", agent("replay", "--diff", "rec ü", "again")
    yield "look at the desktop", agent(*desktop, "--duration", "2", "--report", "d.json")
    yield "grab a window", grab
    for name in ("screen", "dxgi", "wgc") if sys.platform == "win32" else ("screen",):
        yield f"capture {name}", other_capture(name)
    yield "move the mouse", move
    yield "sleep", sleep_error
    yield "live: arm key released", live_case(lambda run: run.desktop.screen.key("Shift_L", press=False))
    yield "live: panic", live_case(tap("Pause"))
    yield "live: panic with Control", live_case(tap_with_control)
    yield "live: focus lost", live_case(focus_lost)
    yield "live: Ctrl-C", live_case(interrupted)
    yield "live: killed", live_case(lambda run: run.process.kill())
    yield "live: detector raises", live_case(_ended, **fail)
    yield "live: detector hangs", live_case(wait_for("hanging"), **hang)
    yield "live: interpreter lock held", live_case(wait_for("hanging"), **hold)
    yield "live: lifeline killed", live_case(lifeline_killed)


def _ended(run: LiveRun) -> None:
    until(lambda: run.process.poll() is not None, 60)


def main() -> None:
    """Run from the command line; status 1 when something does not work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tries", type=int, default=1, help="how often each live run is made")
    parser.add_argument("--only", help="steps whose name contains this")
    given = parser.parse_args()
    global TRIES
    TRIES = given.tries
    rows = []
    desktop = Desktop()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "work").mkdir()
        os.environ.setdefault("RETICLE_CACHE", str(folder / "cache"))
        for index, (what, step) in enumerate(steps(folder)):
            if given.only and given.only not in what:
                continue
            begun = time.perf_counter()
            live = what.startswith("live")
            try:
                said, good = step(desktop, folder / (f"{index} ü" if live else "work")), True
            except Exception as error:
                said, good = f"{type(error).__name__}: {error}", False
            rows.append({"step": what, "good": good, "said": said, "seconds": round(time.perf_counter() - begun, 1)})
            print(
                f"{'ok  ' if good else 'FAIL'} {what}: {' '.join(said.split())}".encode("ascii", "replace").decode(),
                flush=True,
            )
    desktop.window.destroy()  # and its thread ends: one that reads messages can keep the process from ending
    system = f"{platform.platform()}, Python {platform.python_version()}"
    failed = sum(not row["good"] for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} work; {system}")
    if given.json is not None:
        given.json.write_text(json.dumps({"system": system, "rows": rows}, indent=2), encoding="utf-8")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
