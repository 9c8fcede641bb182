"""Live runs of the whole agent on a real X server: a button is held, and must be up whatever ends the run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import psutil
import pytest
import yaml

from agent.plan import Options, make_plan
from agent.profile import load_profile
from agent.types import LEFT
from core.errors import UserError
from plugins.desktop.buttons import WAY, MouseClaim
from tests.conftest import ROOT
from tests.desktop import live_profile, until
from tests.plugins.test_screen import Screen

WINDOW_TITLE = "The game"

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # live runs, on a display of their own


@pytest.fixture
def screen(display: str) -> Iterator[Screen]:
    screen = Screen()
    screen.root.warp_pointer(640, 360)
    window = screen.window(WINDOW_TITLE, 590, 310, 100, 100, 0x3366CC)
    yield screen
    for run in Run.started:  # whatever failed, none goes on beside the tests that follow
        run.process.kill()
        run.end()
    Run.started.clear()
    screen.key("Shift_L", press=False)
    window.destroy()
    screen.display.sync()
    screen.display.close()


class Run:
    """A live run in a process of its own, Shift held, until it has fired."""

    started: ClassVar["list[Run]"] = []

    def __init__(self, folder: Path, screen: Screen, live: bool = True, **changes: object) -> None:
        profile = live_profile(WINDOW_TITLE, 150, {"plugin": "staleness", "max_age_ms": 400}) | changes
        (folder / "live.yaml").write_text(yaml.safe_dump(profile))
        command = [sys.executable, str(ROOT / "agent.py"), "--profile", "live.yaml", "--report", "r.json"]
        self.folder = folder
        self.process = subprocess.Popen(
            [
                *command,
                "--plugin",
                str(ROOT / "tests" / "live_plugin.py"),
                *(["--live"] if live else ["--duration", "1.5"]),
            ],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=(folder / "errors").open("w"),
            env=dict(os.environ),
            text=True,
            process_group=0,  # a group that its own parent is not in takes SIGTSTP, as one of a shell's does
        )
        Run.started.append(self)
        assert until(lambda: "found" in self.errors(), 30), self.errors()
        screen.key("Shift_L", press=True)

    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    def report(self) -> dict:
        return json.loads((self.folder / "r.json").read_text())

    def end(self) -> int:
        self.process.communicate(timeout=30)
        return self.process.returncode


def fires(screen: Screen) -> bool:
    """Shift may have gone down before the listener listened; press it until it is heard."""
    for _ in range(20):
        if until(lambda: screen.buttons() == LEFT, 0.5):
            return True
        screen.key("Shift_L", press=False)
        screen.key("Shift_L", press=True)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_no_button_down(screen: Screen, tmp_path: Path, number: int) -> None:
    run = Run(tmp_path, screen)
    assert fires(screen)
    run.process.send_signal(number)
    assert run.end() == 128 + number
    assert until(lambda: screen.buttons() == 0)
    assert run.report()["actions"] > 0
    assert run.report()["mode"] == "live"
    assert "Traceback" not in run.errors()


def test_an_exception_leaves_no_button_down(screen: Screen, tmp_path: Path) -> None:
    run = Run(tmp_path, screen, detector={"plugin": "blue", "fault": "raise", "frames": 600})
    assert fires(screen)
    assert run.end() == 2
    assert until(lambda: screen.buttons() == 0)
    assert 'the detector "blue": detect raised RuntimeError: the detector broke (live_plugin.py:' in run.errors()
    assert "Traceback" not in run.errors()


def test_panic_ends_the_run_within_a_frame(screen: Screen, tmp_path: Path) -> None:
    run = Run(tmp_path, screen)
    assert fires(screen)
    screen.key("Pause", press=True)
    screen.key("Pause", press=False)
    assert until(lambda: screen.buttons() == 0)
    assert run.end() == 0
    report = run.report()
    assert report["ended"] == "the panic key (pause)"
    assert report["vetoes"].get("panic", 0) <= 1


def test_a_loop_that_hangs_is_released(screen: Screen, tmp_path: Path) -> None:
    run = Run(tmp_path, screen, detector={"plugin": "blue", "fault": "hang", "frames": 600})
    try:
        assert fires(screen)
        assert until(lambda: "hanging" in run.errors(), 30)
        assert until(lambda: screen.buttons() == 0)
    finally:
        run.process.kill()
        run.end()


def test_an_agent_that_is_killed_leaves_no_button_down(screen: Screen, tmp_path: Path) -> None:
    run = Run(tmp_path, screen)
    assert fires(screen)
    run.process.kill()
    assert run.end() == -signal.SIGKILL
    assert until(lambda: screen.buttons() == 0)


@pytest.mark.parametrize("fault", ["hold", "crash"])
def test_the_lifeline_lets_go_for_an_agent_that_cannot(screen: Screen, tmp_path: Path, fault: str) -> None:
    run = Run(tmp_path, screen, detector={"plugin": "blue", "fault": fault, "frames": 600})
    try:
        assert fires(screen)
        assert until(lambda: "hanging" in run.errors() or run.process.poll() is not None, 30)
        assert until(lambda: screen.buttons() == 0, 1)
    finally:
        run.process.kill()
        run.end()


@pytest.mark.parametrize("name", ["SIGSTOP", "SIGTSTP"])
def test_a_stopped_agent_leaves_no_button_down_and_acts_on_no_frame_of_before(
    screen: Screen, tmp_path: Path, name: str
) -> None:
    run = Run(tmp_path, screen)
    assert fires(screen)
    run.process.send_signal(getattr(signal, name))
    assert until(lambda: screen.buttons() == 0, 1)
    time.sleep(0.3)
    assert screen.buttons() == 0
    # What it would aim at is gone; a frame of before shows it still.
    screen.key("Shift_L", press=False)
    run.process.send_signal(signal.SIGCONT)
    assert not until(lambda: screen.buttons() != 0, 0.5)
    screen.key("Shift_L", press=True)
    assert fires(screen)
    run.process.terminate()
    assert run.end() == 128 + signal.SIGTERM
    assert until(lambda: screen.buttons() == 0)


def lifeline_of(run: Run) -> psutil.Process:
    (lifeline,) = [p for p in psutil.Process(run.process.pid).children() if "plugins.desktop.lifeline" in p.cmdline()]
    return lifeline


def test_a_lifeline_that_dies_lets_go_disarms_and_is_started_again(screen: Screen, tmp_path: Path) -> None:
    run = Run(tmp_path, screen)
    assert fires(screen)
    first = lifeline_of(run)
    first.kill()
    assert until(lambda: screen.buttons() == 0, 1)
    assert fires(screen)
    assert lifeline_of(run).pid != first.pid
    run.process.kill()
    run.end()
    assert until(lambda: screen.buttons() == 0, 1)


def test_lifeline_killed_then_agent_killed(screen: Screen, tmp_path: Path) -> None:
    run = Run(tmp_path, screen)
    assert fires(screen)
    lifeline_of(run).kill()
    time.sleep(0.02)
    run.process.kill()
    run.end()
    assert until(lambda: screen.buttons() == 0, 1)


def test_a_detector_that_slept_acts_on_nothing(screen: Screen, tmp_path: Path) -> None:
    run = Run(tmp_path, screen, detector={"plugin": "blue", "fault": "slow", "frames": 600})
    assert fires(screen)
    assert until(lambda: screen.buttons() == 0, 30), "the lifeline lets go"
    screen.key("Shift_L", press=False)
    assert until(lambda: "slept" in run.errors(), 30)
    assert not until(lambda: screen.buttons() != 0, 0.3)
    run.process.terminate()
    run.end()
    vetoes = run.report()["vetoes"]
    assert vetoes["watchdog"] + vetoes["arm-key"] + vetoes["staleness"] >= 1


def test_two_agents_do_not_share_a_mouse(screen: Screen, tmp_path: Path) -> None:
    run = Run(tmp_path, screen)
    (tmp_path / "second").mkdir()
    command = [sys.executable, str(ROOT / "agent.py"), "--profile", "../live.yaml", "--live"]
    second = subprocess.run(
        [*command, "--plugin", str(ROOT / "tests" / "live_plugin.py")],
        cwd=tmp_path / "second",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode == 2
    assert "another agent has this mouse" in second.stderr
    assert fires(screen)
    run.process.kill()
    run.end()
    assert until(lambda: screen.buttons() == 0, 1)
    claim = MouseClaim(WAY)  # it went with the agent that was killed
    with pytest.raises(UserError, match="another agent has this mouse"):
        MouseClaim(WAY)
    claim.close()


def test_live_has_a_limit_on_the_age_of_frames(tmp_path: Path) -> None:
    text = yaml.safe_load((ROOT / "profiles" / "doom-window.yaml").read_text())
    arm, path = {"plugin": "arm-key"}, tmp_path / "p.yaml"
    for given, limits in (
        ([arm], [500]),
        ([arm, {"plugin": "staleness", "max_age_ms": 90}], [90]),
        ([arm, {"plugin": "staleness", "max_age_ms": 900}, {"plugin": "staleness", "max_age_ms": 500}], [900, 500]),
    ):
        path.write_text(yaml.safe_dump({**text, "guards": given}))
        guards = make_plan(load_profile(path), Options(live=True)).roles.guards
        assert [guard.settings.max_age_ms for guard in guards if guard.name == "staleness"] == limits
    path.write_text(yaml.safe_dump({**text, "guards": [arm, {"plugin": "staleness", "max_age_ms": 501}]}))
    with pytest.raises(
        UserError, match="vetoes frames older than 500 ms, and this one allows 501; make its max_age_ms"
    ):
        make_plan(load_profile(path), Options(live=True))
    guards = make_plan(load_profile(path), Options()).roles.guards
    assert [guard.settings.max_age_ms for guard in guards if guard.name == "staleness"] == [501], "a dry run may"


def test_losing_the_focus_lets_go_and_is_counted(screen: Screen, tmp_path: Path) -> None:
    run = Run(tmp_path, screen)
    assert fires(screen)
    other = screen.window("Mail", 0, 0, 50, 50, 0)
    assert until(lambda: screen.buttons() == 0)
    other.destroy()
    screen.display.sync()
    run.process.terminate()
    run.end()
    assert run.report()["vetoes"]["window-title"] > 0


def test_without_live_nothing_moves_and_nothing_is_pressed(screen: Screen, tmp_path: Path) -> None:
    before = screen.pointer()
    moved = []
    run = Run(tmp_path, screen, live=False)
    while run.process.poll() is None:
        moved.append(screen.pointer() != before or screen.buttons() != 0)
        time.sleep(0.01)
    assert run.end() == 0
    assert not any(moved)
    assert run.report()["mode"] == "dry-run"
    assert run.report()["actions"] > 0
    assert (tmp_path / "runs" / "actions.jsonl").read_text().count("\n") == run.report()["actions"]
