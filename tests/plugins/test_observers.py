import json
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from agent.drawing import class_color
from agent.types import Action, Detections, FrameEvent
from core.errors import UserError
from plugins.actuation.dry_run import DryRunActuation
from plugins.actuation.dry_run import Settings as DrySettings
from plugins.observer import overlay
from plugins.observer.decisions import DecisionsObserver, Settings
from plugins.observer.overlay import OverlayObserver
from plugins.observer.overlay import Settings as OverlaySettings
from plugins.selection.nearest import NearestSelection
from plugins.selection.nearest import Settings as NearestSettings
from tests.agent.fakes import context, detections, frame
from tests.conftest import FIXED, ROOT


def test_decisions_are_one_object_a_line_and_appear_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "d.jsonl"
    observer = DecisionsObserver(Settings(path=path), context(names=("body", "head")))
    found = detections((10, 10, 20, 30), classes=[1])
    now = frame(3)
    target = NearestSelection(NearestSettings(), context()).select(found, now)
    observer.observe(FrameEvent(now, found, target, Action(1, 2, 1), sent=True, moved=False))
    observer.observe(
        FrameEvent(frame(4), Detections.empty(), None, Action(1), sent=False, moved=False, veto=("rate", "too fast"))
    )
    assert not path.exists()
    observer.close()
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {
        "frame": 3, "episode": 0, "detections": 1,
        "target": {"class": "head", "box": [10, 10, 20, 30], "error": [-17, -4]},
        "action": {"dx": 1, "dy": 2, "buttons": 1}, "sent": True, "moved": False,
    }  # fmt: skip
    assert second["veto"] == ["rate", "too fast"]
    assert "target" not in second
    assert [p.name for p in path.parent.iterdir()] == ["d.jsonl"]


def test_a_dry_run_writes_each_action_down(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a.jsonl"
    hand = DryRunActuation(DrySettings(path=path), context())
    assert not path.exists()
    hand.apply(Action(3, -4, 0b11, point=(5, 6)))
    hand.apply(Action(buttons=4))
    hand.release()
    hand.close()
    one, two = (json.loads(line) for line in path.read_text().splitlines())
    assert (one["dx"], one["dy"], one["buttons"], one["point"]) == (3, -4, ["left", "right"], [5, 6])
    assert two["buttons"] == ["middle"]
    assert two["t_ms"] >= one["t_ms"] >= 0


def test_an_overlay_has_a_picture_a_frame_with_the_box_on_it(tmp_path: Path) -> None:
    path = tmp_path / "videos" / "v.mp4"
    observer = OverlayObserver(OverlaySettings(path=path, fps=30), context(names=("body",)))
    found = detections((40, 40, 120, 100))
    for i in range(12):
        now = frame(0, 160, 120)
        observer.observe(
            FrameEvent(now, found if i else Detections.empty(), None, Action(), False, False, pixels=now.pixels)
        )
    assert not path.exists()
    observer.close()
    video = cv2.VideoCapture(str(path))
    pictures = [video.read()[1] for _ in range(12)]
    assert not video.read()[0]
    assert pictures[0][70, 35:125].max() < 60
    assert pictures[6][70, 35:45].max() > 100, "the box's left edge"
    assert [p.name for p in path.parent.iterdir()] == ["v.mp4"]


def test_a_live_overlay_keeps_the_runs_time(tmp_path: Path) -> None:
    observer = OverlayObserver(OverlaySettings(path=tmp_path / "v.mp4", fps=30), context(lock_step=False))
    for at_ms in (0, 10, 20, 500, 1000):
        now = frame(0, 64, 48)
        now.grab_ns = 5_000_000_000 + at_ms * 1_000_000
        observer.observe(FrameEvent(now, Detections.empty(), None, Action(), False, False, pixels=now.pixels))
    observer.close()
    assert cv2.VideoCapture(str(tmp_path / "v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 31


def test_an_overlay_without_a_frame_leaves_nothing(tmp_path: Path) -> None:
    OverlayObserver(OverlaySettings(path=tmp_path / "v.mp4"), context()).close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="must end in .mp4"):
        overlay.reticle_observer().check(OverlaySettings(path=tmp_path / "v.gif"), context())


@pytest.mark.parametrize("make", ["decisions", "dry"])
def test_a_file_that_cannot_be_written(tmp_path: Path, make: str) -> None:
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "a.jsonl"
    with pytest.raises(UserError, match=r"a.jsonl: cannot be written"):
        if make == "dry":
            DryRunActuation(DrySettings(path=path), context()).apply(Action(1))
        else:
            DecisionsObserver(Settings(path=path), context())


def test_show_needs_a_display(agent) -> None:
    done = agent("--profile", "doom.yaml", *FIXED, "--show", env={"DISPLAY": "", "WAYLAND_DISPLAY": ""})
    assert done.returncode == 2
    assert done.stderr.strip().startswith("--show: the window needs a display to open on")
    assert len(done.stderr.strip().splitlines()) == 1


SHOWING = """
import sys, time, threading
import numpy as np
from agent.types import Action, FrameEvent
from plugins.observer.show import Settings, ShowObserver
from plugins.selection.nearest import NearestSelection
from plugins.selection.nearest import Settings as NearestSettings
from tests.agent.fakes import context, detections, frame
from tests.conftest import ROOT
observer = ShowObserver(Settings(scale=2, max_fps=1000), context(names=("body",)))
found = detections((30, 20, 50, 40))
target = NearestSelection(NearestSettings(), context()).select(found, frame())
pixels = np.full((48, 64, 4), (200, 40, 90, 0), np.uint8)
def show():
    while not ended:
        observer.observe(FrameEvent(frame(), found, target, Action(1), True, True, pixels=pixels))
        time.sleep(0.02)
ended = []
thread = threading.Thread(target=show)  # as the host does
thread.start()
sys.stdin.read()
ended.append(True)
thread.join()
observer.close()
assert (pixels == (200, 40, 90, 0)).all(), "the event's own picture is left alone"
"""


def test_show_opens_a_window_with_what_was_found(display: str) -> None:
    from plugins.capture.mss import Settings as MssSettings
    from plugins.capture.mss import mss_capture

    process = subprocess.Popen([sys.executable, "-c", SHOWING], cwd=ROOT, stdin=subprocess.PIPE)
    shot = np.zeros((1, 1, 3), np.uint8)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (shot.shape == (96, 128, 3) and (shot[90, 5] == (200, 40, 90)).all()):
            time.sleep(0.05)
            try:
                capture = mss_capture(MssSettings(window="Reticle"), context())
            except UserError:
                continue  # not mapped yet
            shot = capture.grab().pixels[:, :, :3]
            capture.close()
    finally:
        process.communicate(b"", timeout=20)
    assert process.returncode == 0
    assert shot.shape == (96, 128, 3)
    assert (shot[4, 4] == (200, 40, 90)).all(), "the picture, its colours in the right order"
    assert np.abs(shot[50:78, 60].astype(int) - class_color(0)).max() < 8, "the box's left edge"
