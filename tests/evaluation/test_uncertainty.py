"""Which frames are worth labelling, and where two detectors differ."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.types import Detections, Frame
from core.errors import UserError
from evaluation.differences import compare, sheet, unmatched
from evaluation.uncertainty import DISAGREEMENT, FLICKER, LOW_MARGIN, Judge

NAMES = ("monster", "player")
BOX, AWAY = (10.0, 10.0, 30.0, 40.0), (60.0, 10.0, 90.0, 40.0)


def _found(*boxes: tuple[tuple[float, ...], float, int]) -> Detections:
    return Detections(
        np.array([box for box, _, _ in boxes], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in boxes], np.float32),
        np.array([kind for _, _, kind in boxes], np.int32),
    )


def _reasons(*found: Detections, second: Detections | None = None) -> list[tuple[str, ...]]:
    """Return what is said of each frame but the last."""
    judge = Judge(NAMES, 0.5)
    other = None if second is None else (second, ("player", "monster"))
    frames = [Frame(np.zeros((48, 96, 3), np.uint8), i, 0, 0) for i in range(len(found))]
    judged = [judge.judge(frame, each, other) for frame, each in zip(frames, found, strict=True)]
    assert judged[0] is None
    assert [one.frame.index for one in judged[1:] if one is not None] == list(range(len(found) - 1))
    return [one.reasons for one in judged if one is not None]


SURE = _found((BOX, 0.9, 0))
NOTHING = _found()


def test_frames_without_doubt_are_left_out() -> None:
    assert _reasons(SURE, SURE, SURE) == [(), ()]
    assert _reasons(NOTHING, NOTHING, NOTHING) == [(), ()]
    moved = _found(((14.0, 12.0, 34.0, 42.0), 0.9, 0))
    assert _reasons(SURE, moved, SURE) == [(), ()]
    both = _found((BOX, 0.9, 0), (AWAY, 0.9, 1))
    assert _reasons(SURE, both, both) == [(), ()], "what comes and stays does not flicker"


def test_boxes_near_the_threshold_above_and_below() -> None:
    assert _reasons(_found((BOX, 0.55, 0)), SURE) == [(LOW_MARGIN,)]
    assert _reasons(_found((BOX, 0.4, 0)), SURE) == [(LOW_MARGIN,)]
    assert _reasons(_found((BOX, 0.2, 0)), SURE) == [()]


def test_boxes_that_come_and_go_between_frames() -> None:
    assert _reasons(SURE, NOTHING, SURE) == [(), (FLICKER,)]
    assert _reasons(SURE, _found((BOX, 0.9, 1)), SURE) == [(), (FLICKER,)], "the same box by another name"
    assert _reasons(SURE, _found((BOX, 0.9, 0), (AWAY, 0.9, 0)), SURE) == [(), (FLICKER,)]
    assert _reasons(SURE, NOTHING, NOTHING) == [(), ()], "what went away is gone"


def test_a_second_detector_that_differs() -> None:
    """The second one lists its classes in another order."""
    assert _reasons(SURE, SURE, second=_found((BOX, 0.9, 1))) == [()]
    assert _reasons(SURE, SURE, second=_found((BOX, 0.9, 0))) == [(DISAGREEMENT,)]
    assert _reasons(SURE, SURE, second=NOTHING) == [(DISAGREEMENT,)]


@st.composite
def _detections(draw: st.DrawFn) -> Detections:
    boxes = []
    for _ in range(draw(st.integers(0, 6))):
        x, y = draw(st.integers(0, 40)), draw(st.integers(0, 40))
        corners = tuple(float(v) for v in (x, y, x + draw(st.integers(4, 40)), y + draw(st.integers(4, 40))))
        boxes.append((corners, draw(st.integers(1, 99)) / 100, draw(st.integers(0, 1))))
    return _found(*boxes)


@given(_detections(), _detections())
def test_matching_is_one_to_one_and_complete(first: Detections, second: Detections) -> None:
    alone, other = unmatched(first, NAMES, second, NAMES, 0.5)
    assert len(first) - len(alone) == len(second) - len(other)
    same, none = unmatched(first, NAMES, first, NAMES, 0.5)
    assert len(same) == len(none) == 0
    lone, rest = unmatched(first, NAMES, second, ("other", "names"), 0.5)
    assert len(lone) == len(rest) == 0, "of classes that the other does not know nothing can be said"


class _Fixed:
    def __init__(self, found: Detections, names: tuple[str, ...] = NAMES) -> None:
        self.names = names
        self.found = found

    def detect(self, frame: Frame) -> Detections:
        return self.found if frame.index else NOTHING


def test_the_sheet_shows_what_differs(tmp_path: Path) -> None:
    files = [tmp_path / f"{i}.png" for i in range(2)]
    for file in files:
        cv2.imwrite(str(file), np.full((100, 120, 3), 128, np.uint8))
    first, second = _Fixed(SURE), _Fixed(_found((BOX, 0.8, 0), (AWAY, 0.7, 1)))
    found = compare(first, second, files, [], lambda: None)
    assert [difference.image for difference in found] == [files[1]]
    assert len(found[0].only_first) == 0
    assert found[0].only_second.xyxy.tolist() == [list(AWAY)]
    picture = cv2.imdecode(np.frombuffer(sheet(found, first, second), np.uint8), cv2.IMREAD_COLOR)
    left, right = np.hsplit(picture[:330], 2)
    assert np.abs(left.astype(int) - right).sum() > 0
    with pytest.raises(UserError, match="no class in common"):
        compare(first, _Fixed(SURE, ("tree",)), files, [], lambda: None)


def test_detect_against_another_model(agent, tmp_path: Path) -> None:
    """A model agrees with itself; with one setting of its own it would differ."""
    collected = agent("collect", "--profile", "doom.yaml", "--frames", 6, "--seed", 3, "--out", "set")
    assert collected.returncode == 0, collected.stderr
    options = ("set/images", "--model", "doom-yolov4-tiny", "--against", "doom-yolov4-tiny", "--json", "d.json")
    done = agent("detect", *options)
    assert done.returncode == 0, done.stderr
    assert "they differ on 0 of 6 images" in " ".join(done.stdout.split())
    assert json.loads((tmp_path / "d.json").read_text())["differences"] == []
    for extra, says in ((("--sheet", "s.png"), "name the other one"),):
        done = agent("detect", "set/images", "--model", "doom-yolov4-tiny", *extra)
        assert done.returncode == 2
        assert says in done.stderr


def test_only_doubtful_frames_are_collected(agent, tmp_path: Path) -> None:
    assert agent("collect", "--profile", "doom.yaml", "--frames", 40, "--seed", 5, "--out", "game").returncode == 0
    watch = ("--profile", "footage.yaml", "--footage", "game/images", "--autolabel", "doom-yolov4-tiny")
    done = agent("collect", *watch, "--every-s", 0, "--unsure", "--form", "cvat", "--frames", 40, "--out", "doubtful")
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "doubtful" / "card.json").read_text())
    assert 0 < card["frames"] < 40
    assert all(card["images"].values()), "each has a reason"
    assert (tmp_path / "doubtful" / "annotations.xml").is_file()
