"""A whole run through `play`: what is created, in which order it is closed, and what the result says."""

from pathlib import Path

import pytest

from agent.plan import Options
from agent.profile import load_profile
from agent.session import check_all, play
from core.errors import UserError
from tests.agent.fakes import context

PLUGIN = """
import numpy as np, time
from reticle import *

LOG = []

class Capture:
    def __init__(self, settings, context): self.left = 5; LOG.append("capture made")
    def grab(self):
        if not self.left: return None
        self.left -= 1
        now = time.perf_counter_ns()
        return Frame(np.zeros((8, 8, 3), np.uint8), 4 - self.left, now, now)
    def close(self): LOG.append("capture closed")

class Detector:
    names = ("thing",)
    def __init__(self, settings, context): LOG.append("detector made")
    def detect(self, frame): return Detections.empty()
    def close(self):
        LOG.append("detector closed")
        raise OSError("no room")

class Observer:
    def __init__(self, settings, context): self.seen = 0
    def observe(self, event):
        self.seen += 1
        if self.seen == 3: raise ValueError("three")

def missing(settings, context):
    raise UserError("what it needs is missing")

@hookimpl
def reticle_capture(): return CaptureFactory("c", Capture)
@hookimpl
def reticle_detector(): return DetectorFactory("d", Detector)
@hookimpl
def reticle_observer(): return ObserverFactory("o", Observer)
@hookimpl
def reticle_guard(): return GuardFactory("g", object, check=missing)
"""

PROFILE = """
mode: lock-step
plugins: [mine.py]
capture: {plugin: c}
detector: {plugin: d}
selection: {plugin: nearest}
actuation: {plugin: dry-run, path: %s}
observers: [{plugin: o}]
"""


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(PLUGIN)
    (tmp_path / "p.yaml").write_text(PROFILE % (tmp_path / "a.jsonl"))
    return tmp_path / "p.yaml"


def test_a_run_closes_everything_in_reverse_and_tells_what_failed(profile: Path) -> None:
    import sys

    result = play(load_profile(profile), Options())
    assert (result.statistics.frames, result.mode, result.error) == (5, "lock-step", None)
    assert result.ended == "end of the frames"
    log = sys.modules["reticle_plugin_mine"].LOG
    assert log[-4:] == ["capture made", "detector made", "detector closed", "capture closed"]
    assert result.observer_failures == {"o": 1}
    first, second = result.failures
    assert first.startswith("observer o: ValueError: three (mine.py:")
    assert second.endswith('the plugin "d" failed to close: OSError: no room (mine.py:22)')
    assert (profile.parent / "a.jsonl").read_text() == ""


def test_an_option_that_does_not_fit_creates_nothing(profile: Path) -> None:
    with pytest.raises(UserError, match="episodes .* are those of a game that the agent runs"):
        play(load_profile(profile), Options(episodes=2))
    assert not (profile.parent / "a.jsonl").exists() or (profile.parent / "a.jsonl").read_text() == ""


def test_every_problem_is_listed_at_once(profile: Path) -> None:
    text = profile.read_text() + "guards: [{plugin: g}]\n"
    profile.write_text(
        text.replace("detector: {plugin: d}", "detector: {plugin: yolo, model: doom-yolov4-tiny}").replace(
            "selection: {plugin: nearest}", "selection: {plugin: nearest, classes: [playr]}"
        )
    )
    loaded = load_profile(profile)
    with pytest.raises(UserError) as error:
        check_all([choice for _, choice in loaded.roles.items()], context())
    selection, guard = str(error.value).splitlines()
    assert 'the detector knows no class "playr"; did you mean "player"?' in selection
    assert guard.endswith("what it needs is missing")
