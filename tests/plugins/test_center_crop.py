import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.statistics import RunStatistics
from agent.types import IDLE, Detections, Frame
from core.errors import UserError
from plugins.detector import network
from plugins.detector.center_crop import CenterCrop, CenterCropDetector, span
from plugins.detector.fallback import Fallback, FallbackDetector
from plugins.detector.network import EngineSettings, NetworkDetector
from tests.conftest import FIXED, ROOT
from tests.engine.test_boxes import iou

WIDTH, HEIGHT = 64, 48


class Bright:
    """Finds the box around whatever is not black, and remembers how large a picture it was shown."""

    names = ("thing",)

    def __init__(self) -> None:
        self.shown: list[tuple[int, int]] = []

    def detect(self, frame: Frame) -> Detections:
        return self.find(frame.pixels, frame)

    def find(self, pixels: np.ndarray, frame: Frame) -> Detections:
        self.shown.append((pixels.shape[1], pixels.shape[0]))
        rows, columns = np.nonzero(pixels[..., 0])
        if not len(rows):
            return Detections.empty()
        box = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
        return Detections(np.array(box, np.float32), np.ones(1, np.float32), np.zeros(1, np.int32))

    def describe(self) -> dict:
        return {"engine": "none"}


def picture(left: int, top: int, right: int, bottom: int, width: int = WIDTH, height: int = HEIGHT) -> Frame:
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top:bottom, left:right] = 255
    return Frame(pixels, 0, 0, 0)


def detector(crosshair: tuple[float, float] = (0.5, 0.5), **crop: object) -> CenterCropDetector:
    return CenterCropDetector(Bright(), Bright(), CenterCrop(**{"size": 32, **crop}), crosshair)  # type: ignore[arg-type]


MIDDLE = (30, 20, 36, 28)


def test_it_looks_at_the_middle_while_a_target_is_there_and_now_and_then_at_all() -> None:
    one = detector(frames=3)
    for _ in range(9):
        assert one.detect(picture(*MIDDLE)).xyxy.tolist() == [list(MIDDLE)]
    assert one._middle.shown == [(32, 24)] * 6
    assert one._whole.shown == [(64, 48)] * 3


@pytest.mark.parametrize(
    "box", [(0, 0, 5, 5), (10, 20, 36, 28), (17, 20, 36, 28), (30, 5, 36, 47)], ids=["aside", "cut", "edge", "tall"]
)
def test_a_target_that_is_not_wholly_in_the_middle_is_looked_for_in_all(box: tuple[int, int, int, int]) -> None:
    one = detector()
    for _ in range(5):
        assert one.detect(picture(*box)).xyxy.tolist() == [list(box)]
    assert not one._middle.shown
    one.detect(picture(*MIDDLE))
    one.detect(picture(*box))  # it has left the middle, as the next frame shows
    assert one.detect(picture(*box)).xyxy.tolist() == [list(box)]


def test_nothing_found_or_a_new_episode_ends_it() -> None:
    one = detector()
    one.detect(picture(*MIDDLE))
    assert not len(one.detect(picture(0, 0, 0, 0)))
    assert one.detect(picture(1, 1, 5, 5)).xyxy.tolist() == [[1, 1, 5, 5]]
    one.detect(picture(*MIDDLE))
    one.begin(1)
    assert one.detect(picture(1, 1, 5, 5)).xyxy.tolist() == [[1, 1, 5, 5]]


@given(st.integers(20, 200), st.integers(20, 200), st.floats(0.1, 0.9), st.data())
def test_boxes_are_where_they_are_in_the_frame_and_the_part_is_around_the_crosshair(
    width: int, height: int, part: float, data: st.DataObject
) -> None:
    at = (data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1)))
    one = detector(at, part=part)
    left, top = data.draw(st.integers(0, width - 2)), data.draw(st.integers(0, height - 2))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    frame = picture(left, top, right, bottom, width, height)
    for _ in range(3):
        assert one.detect(frame).xyxy.tolist() == [[left, top, right, bottom]]
    assert set(one._middle.shown) <= {(max(1, round(width * part)), max(1, round(height * part)))}


@given(st.integers(1, 4000), st.floats(0.1, 0.9), st.floats(0, 1))
def test_a_part_of_a_side_lies_within_it_and_as_near_to_the_crosshair_as_it_can(
    side: int, part: float, at: float
) -> None:
    first, last = span(side, part, at)
    assert 0 <= first < last <= side
    assert last - first == max(1, round(side * part))
    if first > 0 and last < side:
        assert abs((first + last) / 2 - side * at) <= 0.501


def test_frames_of_another_shape_are_cropped_in_their_own_middle() -> None:
    one = detector()
    one.detect(picture(*MIDDLE))
    box = (60, 44, 70, 54)
    for _ in range(2):
        assert one.detect(picture(*box, width=128, height=96)).xyxy.tolist() == [list(box)]
    assert one._middle.shown == [(64, 48)]


def test_a_real_network_finds_around_the_crosshair_what_it_finds_in_all() -> None:
    from engine.models import find

    pixels = cv2.imread(str(ROOT / "examples" / "doom.jpg"))
    height, width = pixels.shape[:2]
    settings = EngineSettings(size=(width // 32 * 32, height // 32 * 32), confidence=0.3)
    files = find("doom-yolov4-tiny")
    whole = NetworkDetector(files, settings)
    small = NetworkDetector(files, settings.model_copy(update={"size": (width // 64 * 32, height // 64 * 32)}))
    boxes = whole.detect(Frame(pixels, 0, 0, 0)).xyxy
    left, top, right, bottom = boxes[0]
    crosshair = ((left + right) / 2 / width, (top + bottom) / 2 / height)
    one = CenterCropDetector(whole, small, CenterCrop(size=32), crosshair)
    frames = [Frame(pixels, i, 0, 0) for i in range(2)]
    one.detect(frames[0])
    found = one.detect(frames[1]).xyxy
    assert [frame.cropped for frame in frames] == [False, True]
    assert max(iou(boxes[0], each) for each in found) > 0.8


@pytest.mark.slow
def test_a_run_that_looks_around_the_crosshair_plays_and_decides_the_same_again(agent, tmp_path: Path) -> None:
    crop = ("--set", "detector.center_crop={size: [320, 256]}")
    reports = []
    for name in ("a.json", "b.json"):
        doom = (
            "--profile",
            "doom.yaml",
            *FIXED,
            "--episodes",
            1,
            "--set",
            "capture.limit_s=10",
            *crop,
            "--report",
            name,
        )
        done = agent(*doom)
        assert done.returncode == 0, done.stderr
        reports.append(json.loads((tmp_path / name).read_text()))
    assert reports[0]["decisions"] == reports[1]["decisions"]
    assert reports[0]["cropped"] == reports[1]["cropped"] > 40
    assert reports[0]["episodes"][0]["kills"] >= 5


@pytest.mark.parametrize(
    ("crop", "says"),
    [
        ("{size: [160, 100]}", "detector.center_crop.size: "),
        ("{size: 1024}", "center_crop.size is 1024x1024, which is not smaller than the network's own 640x480"),
        ("{size: 160, part: 1.5}", "center_crop.part"),
        ("{size: 160, parts: 0.5}", 'did you mean "part"?'),
        ("{part: 0.5}", "center_crop.size"),
    ],
)
def test_a_part_that_cannot_be_is_one_sentence(cli, crop: str, says: str) -> None:
    done = cli("--profile", "doom.yaml", *FIXED, "--set", f"detector.center_crop={crop}")
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_an_engine_of_one_size_is_refused_and_where_auto_chose_it_the_whole_is_looked_at(monkeypatch, caplog) -> None:
    from engine.models import find
    from engine.runtime import find_runtime

    files = find("doom-yolov4-tiny")
    monkeypatch.setattr(network, "_check", lambda *given: pytest.fail("it needs no other"))
    settings = EngineSettings(engine="tensorrt", center_crop=CenterCrop(size=160))
    with pytest.raises(UserError, match=r"detector\.center_crop: an engine of tensorrt is of one size"):
        network._check_smaller(files, settings, 160, None, "center_crop")  # type: ignore[arg-type]
    whole = Bright()
    monkeypatch.setattr(whole, "describe", lambda: {"engine": "tensorrt", "precision": "int8"})
    assert find_runtime("tensorrt").one_size
    assert network._cropping(whole, files, settings, (0.5, 0.5)) is whole  # type: ignore[arg-type]
    assert "center_crop is left out" in caplog.text


def test_a_new_episode_reaches_it_through_a_fallback() -> None:
    one = detector()
    both = FallbackDetector(one, Bright(), Fallback(size=32, budget_ms=1e6))
    both.detect(picture(*MIDDLE))
    both.begin(1)
    assert both.detect(picture(1, 1, 5, 5)).xyxy.tolist() == [[1, 1, 5, 5]]


def test_frames_of_which_a_part_was_looked_at_say_nothing_about_contention() -> None:
    statistics = RunStatistics()
    for index in range(300):
        frame = picture(*MIDDLE)
        frame.cropped = index % 2 == 0
        frame.taken_ns = frame.preprocessed_ns = 1
        frame.inferred_ns = frame.decoded_ns = 1 + (1_000_000 if frame.cropped else 4_000_000)
        statistics.count(frame, Detections.empty(), None, IDLE, False)
    assert statistics.alone_ns == 4_000_000
    assert (statistics.contended, statistics.cropped) == (0, 150)
