"""Ctrl-C ends every command within seconds, with all that it started; then the same command works again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import FIXED, ROOT, RUN_MARK
from tests.desktop import posix, until

pytestmark = [pytest.mark.slow, posix]

MODEL = ("--model", "doom-yolov4-tiny")
COMMANDS = {
    "run": ("--profile", "doom.yaml", *FIXED),
    "arena": ("arena", "--profile", "doom.yaml", "--episodes", "6", "--baselines", "oracle,random", *FIXED),
    "collect": ("collect", "--profile", "doom.yaml", "--frames", "500", "--out", "set"),
    "calibrate": ("calibrate", "--profile", "doom-window.yaml", "--live", "--xvfb", "--no-write"),
    "demo-window": ("demo-window", "--live", "--xvfb", *FIXED),
    "bench": ("bench", *MODEL, "--engines", "openvino:fp32,onnx:cpu:fp32", "--frames", "4000"),
    "doctor": ("doctor", *MODEL),
}


def started_by(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_MARK) == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def begun(name: str, folder: Path) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "agent.py"), *COMMANDS[name]],
        cwd=folder,
        env={**os.environ, RUN_MARK: str(folder), "DISPLAY": "", "RETICLE_CACHE": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        # What a shell starts in the background ignores it, and these tests may run in one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_leaves_nothing_behind(number: int, tmp_path: Path) -> None:
    """`timeout` sends SIGTERM twice, and who waits presses Ctrl-C again."""
    process = begun("arena", tmp_path)
    time.sleep(6)
    for pause_s in (0.0, 0.05, 0.5):
        time.sleep(pause_s)
        if process.poll() is None:
            process.send_signal(number)
    try:
        _, said = process.communicate(timeout=12)
    finally:
        process.kill()
    # A signal that comes when Python has put its handlers away ends it at once.
    assert process.returncode in (130, 128 + signal.SIGTERM, -number), said
    assert until(lambda: not started_by(tmp_path), 5), started_by(tmp_path)


@pytest.mark.parametrize(
    ("name", "wait_s"),
    [
        *((name, 4.0) for name in ("arena", "collect", "calibrate", "demo-window")),
        *((name, 1.0) for name in ("run", "arena", "calibrate", "bench", "doctor")),
    ],
)
def test_an_interrupt_ends_a_command_and_its_children(name: str, wait_s: float, tmp_path: Path) -> None:
    process = begun(name, tmp_path)
    time.sleep(wait_s)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of the group
    try:
        _, said = process.communicate(timeout=8)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert until(lambda: not started_by(tmp_path), 5), started_by(tmp_path)
    assert not (tmp_path / "set").exists()
    assert list(tmp_path.glob(".*")) == []
