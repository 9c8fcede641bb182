import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.types import Detections, Frame
from plugins.detector.fallback import MOST_LATE, SETTLING, WINDOW, Fallback, FallbackDetector
from tests.conftest import FIXED

PIXELS = np.zeros((2, 2, 3), np.uint8)


class Network:
    """Finds nothing, and takes its time for the frames that it is told."""

    names = ("thing",)

    def __init__(self, late: frozenset[int] = frozenset()) -> None:
        self.late = late
        self.seen: list[int] = []
        self.now_ns = 0

    def detect(self, frame: Frame) -> Detections:
        self.seen.append(frame.index)
        self.now_ns += 3_000_000 if frame.index in self.late else 2_000_000
        return Detections.empty()


@given(late=st.frozensets(st.integers(0, 599), max_size=8))
def test_it_changes_when_more_than_one_frame_in_a_hundred_is_late(late: frozenset[int]) -> None:
    first, smaller = Network(late), Network()
    detector = FallbackDetector(first, smaller, Fallback(size=320, budget_ms=2.5), lambda: first.now_ns)
    for index in range(600):
        detector.detect(Frame(PIXELS, index, 0, 0))
    counted = sorted(index for index in late if index >= SETTLING)
    changes = [c for a, c in zip(counted, counted[MOST_LATE:], strict=False) if c - a < WINDOW]
    after = changes[0] + 1 if changes else None
    assert first.seen == list(range(after or 600))
    assert smaller.seen == list(range(after or 600, 600))
    assert detector.fallback()["after_frames"] == after


def test_a_live_run_goes_on_with_the_smaller_network(agent, tmp_path: Path) -> None:
    live = ("--profile", "doom.yaml", *FIXED, "--set", "mode=live", "--duration", 8, "--report", "a.json")
    done = agent(*live, "--set", "detector.fallback={size: [320, 256], budget_ms: 0.1}")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "a.json").read_text())
    after = SETTLING + MOST_LATE + 1
    ran = {"engine": "openvino", "precision": "int8", "after_frames": after}
    assert report["fallback"] == {"size": [320, 256], "budget_ms": 0.1, **ran}
    assert report["frames"] > after
    assert f"after {after} frames it runs at 320x256" in " ".join(done.stderr.split())


def test_in_lock_step_it_stays_with_the_network_that_it_has(agent, tmp_path: Path) -> None:
    done = agent(
        "--profile", "doom.yaml", *FIXED, "--episodes", 1, "--set", "capture.limit_s=4", "--report", "a.json",
        "--set", "detector.fallback={size: 320, budget_ms: 0.1}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "a.json").read_text())["fallback"] is None


@pytest.mark.parametrize(
    ("fallback", "says"),
    [
        ("{size: [320, 240], budget_ms: 9}", "detector.fallback.size: "),
        ("{size: 1024, budget_ms: 9}", "size is 1024x1024, which is not smaller than the network's own 640x480"),
        ("{size: 320, budget_ms: 0}", "budget_ms"),
        ("{}", "size"),
    ],
)
def test_a_size_or_budget_that_cannot_be_is_one_sentence(cli, fallback: str, says: str) -> None:
    done = cli("--profile", "doom.yaml", *FIXED, "--set", "mode=live", "--set", f"detector.fallback={fallback}")
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_an_engine_of_one_size_has_none(cli) -> None:
    tensorrt = ("--set", "detector.engine=tensorrt", "--set", "detector.precision=fp16")
    done = cli("--profile", "doom.yaml", *tensorrt, "--set", "detector.fallback={size: 320, budget_ms: 9}")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "an engine of tensorrt is of one size" in said or "not installed" in said
