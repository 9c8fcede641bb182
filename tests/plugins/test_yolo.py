from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from agent.types import Frame
from core.errors import UserError
from plugins.detector.network import NetworkDetector
from plugins.detector.oracle import OracleDetector
from plugins.detector.yolo import Settings, reticle_detector
from tests.agent.fakes import context, frame
from tests.networks import NAMES, small_files

# The best score of each class in dog.jpg at 416, from the original weights.
REFERENCE = {"dog": 0.87, "truck": 0.82, "bicycle": 0.61}


def detector(**settings: object) -> NetworkDetector:
    return reticle_detector().create(Settings(**settings), context())


def best(found, names) -> dict[str, float]:
    scores: dict[str, float] = {}
    for class_id, score in zip(found.class_id.tolist(), found.confidence.tolist(), strict=True):
        scores[names[class_id]] = max(score, scores.get(names[class_id], 0.0))
    return scores


def test_the_dog_the_truck_and_the_bicycle(data: Path) -> None:
    yolo = detector(
        cfg=data / "cfg" / "yolov4-tiny.cfg", weights=data / "weights" / "yolov4-tiny.weights", confidence=0.5
    )
    picture = cv2.imread(str(data / "images" / "dog.jpg"))
    now = Frame(picture, 0, 1, 1, taken_ns=1)
    found = yolo.detect(now)
    scores = best(found, yolo.names)
    assert scores.keys() == REFERENCE.keys()
    assert all(abs(scores[name] - score) <= 0.02 for name, score in REFERENCE.items())
    assert 1 < now.preprocessed_ns < now.inferred_ns
    boxes = dict(zip([yolo.names[i] for i in found.class_id], found.xyxy.tolist(), strict=True))
    np.testing.assert_allclose(boxes["dog"], [128, 210, 318, 542], atol=20)
    # The same pixels with an alpha that says nothing give the same boxes.
    bgra = yolo.detect(Frame(np.dstack((picture, picture[:, :, :1])), 1, 1, 1))
    assert bgra.xyxy.tolist() == found.xyxy.tolist()


def test_yolov3_tiny_too(data: Path) -> None:
    yolo = detector(
        cfg=data / "cfg" / "yolov3-tiny.cfg", weights=data / "weights" / "yolov3-tiny.weights", confidence=0.35
    )
    found = yolo.detect(Frame(cv2.imread(str(data / "images" / "dog.jpg")), 0, 0, 0))
    assert {"dog", "truck", "bicycle"} <= best(found, yolo.names).keys()


def test_a_small_network_end_to_end(tmp_path: Path) -> None:
    cfg, weights, names = small_files(tmp_path)
    yolo = detector(cfg=cfg, weights=weights, names=names, confidence=0.05)
    assert yolo.names == NAMES
    found = yolo.detect(frame(width=200, height=100))
    assert len(found) > 0
    assert found.xyxy.min() >= 0
    assert found.xyxy[:, 2].max() <= 200
    assert found.xyxy[:, 3].max() <= 100
    assert found.confidence.tolist() == sorted(found.confidence.tolist(), reverse=True)
    assert detector(cfg=cfg, weights=weights, names=names, size=(32, 64)).names == NAMES


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cfg": "none.cfg"}, "none.cfg: the cfg cannot be read"),
        ({"weights": "none.weights"}, "none.weights: the weights cannot be read: "),
        ({"names": "none.names"}, "none.names: the file of class names cannot be read"),
        ({"cfg": None, "weights": None, "model": "mine"}, "there is no bundle models/mine: make one"),
    ],
)
def test_what_is_missing_is_said_before_anything_starts(tmp_path: Path, change: dict, says: str) -> None:
    small_files(tmp_path)
    given = {"cfg": "small.cfg", "weights": "small.weights", "names": "small.names", **change}
    settings = Settings(**{key: value for key, value in given.items() if value is not None})
    with pytest.raises(UserError, match=says):
        reticle_detector().check(settings, context(folder=tmp_path))
    with pytest.raises(UserError, match=says):
        reticle_detector().create(settings, context(folder=tmp_path))


def test_precisions_and_engines_that_are_not_there(tmp_path: Path) -> None:
    cfg, weights, _ = small_files(tmp_path)
    with pytest.raises(UserError, match="tensorflow computes at fp32, not at int8"):
        reticle_detector().check(Settings(cfg=cfg, weights=weights, engine="tensorflow", precision="int8"), context())
    with pytest.raises(UserError, match="there is no INT8 graph in this bundle yet"):
        detector(cfg=cfg, weights=weights, precision="int8")


@pytest.mark.parametrize("given", [{}, {"cfg": "x"}, {"model": "x", "weights": "y"}])
def test_a_model_is_given_in_one_way(given: dict) -> None:
    with pytest.raises(ValidationError, match="give either model, or"):
        Settings(**given)


def test_the_oracle_needs_an_environment() -> None:
    with pytest.raises(UserError, match="needs a capture that knows the ground truth, such as doom"):
        OracleDetector(None, context())
