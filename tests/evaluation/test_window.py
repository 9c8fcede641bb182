"""The window path from end to end: the game in its window on an X server, the screen, the detector, the real mouse."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import psutil
import pytest
import yaml

from tests.conftest import FIXED, ROOT, RUN_MARK, missing
from tests.desktop import until


@pytest.fixture(autouse=True)
def _an_x_server() -> None:
    if shutil.which("Xvfb") is None:
        missing("Xvfb is not installed (Debian's package xvfb)")


def games(folder: Path) -> set[int]:
    """The games' engines and X servers that a test in `folder` started, by the mark in their environment."""
    found = set()
    for process in psutil.process_iter(["name"]):
        if (process.info["name"] or "").startswith(("vizdoom", "Xvfb")):
            with contextlib.suppress(psutil.Error):
                if process.environ().get(RUN_MARK) == str(folder):
                    found.add(process.pid)
    return found


def profile(folder: Path, **changes: object) -> Path:
    text = yaml.safe_load((ROOT / "profiles" / "doom-window.yaml").read_text())
    for key, value in changes.items():
        text[key] = {**text[key], **value}
    path = folder / "window.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


@pytest.mark.alone
def test_it_plays_the_game_in_its_window(agent, tmp_path: Path) -> None:
    done = agent(
        "demo-window",
        "--live",
        "--xvfb",
        *FIXED,
        "--seed",
        3,
        "--record",
        "rec",
        "--json",
        "r.json",
        env={"DISPLAY": ""},
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["mode"] == "live"
    assert report["ended"] == "the game is over"
    assert report["setup"]["actuation"]["plugin"] == "mouse"
    (episode,) = report["episodes"]
    # 24 on a quiet machine, 9 on one that stalls; a hand that moves by chance has 2.
    assert episode["kills"] >= 5
    assert report["kills"]["mean"] == episode["kills"]
    assert until(lambda: not games(tmp_path))
    assert report["observer_drops"] == 0
    again = agent("--profile", "doom-window.yaml", *FIXED, "--footage", "rec", "--report", "again.json")
    assert again.returncode == 0, again.stderr
    replayed = json.loads((tmp_path / "again.json").read_text())
    assert (replayed["frames"], replayed["decisions"]) == (report["frames"], report["decisions"])


def test_without_live_it_moves_nothing_and_the_player_falls(agent, tmp_path: Path) -> None:
    done = agent("demo-window", "--xvfb", *FIXED, "--json", "r.json", "--record", "v.mp4")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["mode"] == "dry-run"
    assert report["episodes"][0]["shots"] == 0
    assert (tmp_path / "runs" / "actions.jsonl").read_text().count("\n") == report["actions"] > 0
    video = cv2.VideoCapture(str(tmp_path / "v.mp4"))
    frames = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    assert abs(frames / video.get(cv2.CAP_PROP_FPS) - report["seconds"]) < 2, "the video lasts as long as the run"
    assert (video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (640, 480)
    assert list(tmp_path.glob(".v.mp4*")) == []


@pytest.mark.slow
def test_a_terminated_run_leaves_neither_game_nor_server(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "agent.py"), "demo-window", "--live", "--xvfb", *FIXED, "--episodes", "5"]
    environment = {**os.environ, RUN_MARK: str(tmp_path)}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=quiet, stderr=quiet)
    assert until(lambda: len(games(tmp_path)) >= 2, 60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    assert until(lambda: not games(tmp_path), 20)


@pytest.mark.slow
def test_a_killed_run_leaves_neither_game_nor_server(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "agent.py"), "demo-window", "--live", "--xvfb", *FIXED, "--episodes", "5"]
    environment = {**os.environ, RUN_MARK: str(tmp_path)}
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=quiet, stderr=quiet)
    assert until(lambda: len(games(tmp_path)) >= 2, 60)
    process.kill()
    process.wait(10)
    assert until(lambda: not games(tmp_path), 20)


@pytest.mark.slow
@pytest.mark.alone
def test_it_calibrates_by_the_real_mouse_and_is_told_nothing(agent, tmp_path: Path) -> None:
    text = (ROOT / "profiles" / "doom-window.yaml").read_text()
    left = [line for line in text.splitlines() if not line.strip().startswith(("fov_deg", "degrees_per", "search_deg"))]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(left).replace("calibration:", "calibration:\n  degrees_per_count: 1  # wrong") + "\n")
    done = agent("calibrate", "--profile", "mine.yaml", "--live", "--xvfb", "--json", "c.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "c.json").read_text())
    right, down = found["degrees_per_count"]
    assert right == pytest.approx(24 * 360 / 65536, rel=0.01)
    assert down == pytest.approx(1.2 * 32 * 360 / 65536, rel=0.01)  # Doom's pixels are higher than wide
    assert found["fov_deg"] == pytest.approx(90, rel=0.01)
    assert 0 < found["delay_ms"] < 200
    after = path.read_text()
    assert yaml.safe_load(after)["calibration"]["degrees_per_count"] == [round(right, 6), round(down, 6)]
    assert "# wrong" in after
    assert "# Doom aims up and down by itself" in after


@pytest.mark.parametrize(
    "measured", [("calibration:", "fov_deg", "degrees_per"), ("degrees_per",)], ids=["all", "half"]
)
def test_a_controller_that_wants_a_calibration_does_not_keep_one_from_it(agent, tmp_path: Path, measured) -> None:
    """Neither does the field of view alone, which is known from the game's menu."""
    text = (ROOT / "profiles" / "doom-window.yaml").read_text()
    assert "search_deg" in text
    kept = (line for line in text.splitlines() if not line.strip().startswith(measured))
    (tmp_path / "mine.yaml").write_text("\n".join(kept) + "\n")
    for given in ((), ("--fov", 90)):
        done = agent("calibrate", "--profile", "mine.yaml", *given)
        assert done.returncode == 2
        assert "so it needs --live" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("demo-window", "--profile", "doom.yaml"), "this profile names no game"),
        (("demo-window", "--who", "me"), '--who is "me"'),
        (("demo-window", "--record", "v.avi", "--xvfb", *FIXED), "must end in .mp4"),
        (("game", "--profile", "footage.yaml"), "this profile names no game"),
        (("calibrate", "--profile", "doom-window.yaml"), "so it needs --live"),
        (("calibrate", "--profile", "footage.yaml"), "so it needs --live"),
    ],
)
def test_bad_input_is_one_sentence(agent, arguments: tuple[str, ...], says: str) -> None:
    done = agent(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("display", "says"),
    [
        ("", "needs a display, and there is none:"),
        (":7345", "needs a display, and DISPLAY=:7345 cannot be reached"),
        (":70000", "needs a display, and DISPLAY=:70000 "),
    ],
)
def test_no_display_is_one_sentence_at_once(agent, display: str, says: str, tmp_path: Path) -> None:
    commands = ["game"] + (["demo-window", "calibrate"] if display else [])  # without one these open one of their own
    for command in commands:
        live = () if command == "game" else ("--live",)
        done = agent(command, "--profile", "doom-window.yaml", *live, env={"DISPLAY": display, "WAYLAND_DISPLAY": ""})
        assert done.returncode == 2, done.stdout + done.stderr
        assert says in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    assert not games(tmp_path)


def test_a_scenario_that_does_not_exist_and_a_missing_server(agent, tmp_path: Path) -> None:
    path = profile(tmp_path, game={"plugin": "doom", "scenario": "nowhere"})
    done = agent("demo-window", "--profile", path, "--xvfb", *FIXED)
    assert done.returncode == 2
    assert 'there is no Doom scenario "nowhere"' in " ".join(done.stderr.split())
    bare = {"DISPLAY": "", "PATH": os.path.dirname(sys.executable)}  # noqa: PTH120
    done = agent("demo-window", env=bare)
    assert done.returncode == 2
    assert "Xvfb, which would stand in for one, is not installed" in " ".join(done.stderr.split())
