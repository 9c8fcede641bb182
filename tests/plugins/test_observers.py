import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent.errors import UserError
from agent.types import Action, Detections, FrameEvent
from plugins.actuation.dry_run import DryRunActuation
from plugins.actuation.dry_run import Settings as DrySettings
from plugins.observer.decisions import DecisionsObserver, Settings
from plugins.selection.nearest import NearestSelection
from plugins.selection.nearest import Settings as NearestSettings
from tests.agent.makes import context, detections, frame
from tests.conftest import ROOT


def test_decisions_are_one_object_a_line_and_appear_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "d.jsonl"
    observer = DecisionsObserver(Settings(path=path), context(names=("body", "head")))
    found = detections((10, 10, 20, 30), classes=[1])
    now = frame(3)
    target = NearestSelection(NearestSettings(), context()).select(found, now)
    observer.observe(FrameEvent(now, found, target, Action(1, 2, 1), sent=True))
    observer.observe(FrameEvent(frame(4), Detections.empty(), None, Action(1), sent=False, veto=("rate", "too fast")))
    assert not path.exists()
    observer.close()
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == {
        "frame": 3, "episode": 0, "detections": 1,
        "target": {"class": "head", "box": [10, 10, 20, 30], "error": [-17, -4]},
        "action": {"dx": 1, "dy": 2, "buttons": 1}, "sent": True,
    }  # fmt: skip
    assert second["veto"] == ["rate", "too fast"]
    assert "target" not in second
    assert [p.name for p in path.parent.iterdir()] == ["d.jsonl"]


def test_a_dry_run_writes_each_action_down(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a.jsonl"
    hand = DryRunActuation(DrySettings(path=path), context())
    assert not path.parent.exists()
    hand.apply(Action(3, -4, 0b11, point=(5, 6)))
    hand.apply(Action(buttons=4))
    hand.release()
    hand.close()
    one, two = (json.loads(line) for line in path.read_text().splitlines())
    assert (one["dx"], one["dy"], one["buttons"], one["point"]) == (3, -4, ["left", "right"], [5, 6])
    assert two["buttons"] == ["middle"]
    assert two["t_ms"] >= one["t_ms"] >= 0


@pytest.mark.parametrize("make", ["decisions", "dry"])
def test_a_file_that_cannot_be_written(tmp_path: Path, make: str) -> None:
    (tmp_path / "file").write_text("x")
    path = tmp_path / "file" / "a.jsonl"
    with pytest.raises(UserError, match=r"a.jsonl: .* cannot be written"):
        if make == "dry":
            DryRunActuation(DrySettings(path=path), context()).apply(Action(1))
        else:
            DecisionsObserver(Settings(path=path), context())


def test_show_says_what_to_install_where_opencv_has_no_windows() -> None:
    import cv2

    if "GUI:                           NONE" not in cv2.getBuildInformation():
        pytest.skip("this OpenCV has windows")
    done = subprocess.run(
        [sys.executable, "agent.py", "--profile", "doom.yaml", "--show"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "--show needs an OpenCV with windows" in done.stderr
    assert "uv pip install --reinstall opencv-python" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_show_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the window itself, which the headless OpenCV does not have."""
    import cv2

    from plugins.observer import show

    shown = []
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "")
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append(picture.copy()))
    monkeypatch.setattr(cv2, "waitKey", lambda wait: -1)
    observer = show.ShowObserver(show.Settings(scale=2), context(names=("body",)))
    found = detections((30, 20, 50, 40))
    target = NearestSelection(NearestSettings(), context()).select(found, frame())
    pixels = np.zeros((48, 64, 4), np.uint8)
    observer.observe(FrameEvent(frame(), found, target, Action(1), True, pixels=pixels))
    (picture,) = shown
    assert picture.shape == (96, 128, 3)
    assert picture[40:80, 60:100].any()
    assert not pixels.any(), "the event's own picture is left alone"
