from pathlib import Path

import numpy as np
import pytest

from core.geometry import STRETCH
from engine.engine import Model, load_engine
from engine.models import ModelFiles, load
from evaluation import tutorial
from evaluation.accuracy import coco, darknet_ap50, measure, predictions
from evaluation.agreement import detecting
from evaluation.datasets import Annotated, read


def truth(boxes: list[list[float]], classes: list[int], crowd: list[bool] | None = None) -> Annotated:
    table = np.array(boxes, np.float64).reshape(-1, 4)
    areas = np.prod(table[:, 2:] - table[:, :2], axis=1)
    return Annotated(
        Path("x"), table, np.array(classes, np.int64), np.array(crowd or [False] * len(boxes), bool), areas
    )


def rows(*found: tuple[list[float], float, int]):
    return (
        np.array([box for box, _, _ in found], np.float32).reshape(-1, 4),
        np.array([score for _, score, _ in found], np.float32),
        np.array([c for _, _, c in found], np.int32),
    )


BOX, FAR = [10.0, 10.0, 110.0, 110.0], [300.0, 300.0, 400.0, 400.0]


def test_perfect_half_and_nothing() -> None:
    images = [truth([BOX, FAR], [0, 0])]
    perfect = [rows((BOX, 0.9, 0), (FAR, 0.8, 0))]
    assert coco(perfect, images)[:2] == pytest.approx((100, 100))
    assert darknet_ap50(perfect, images) == pytest.approx(100)
    half = [rows((BOX, 0.9, 0))]
    assert coco(half, images)[1] == pytest.approx(100 * 51 / 101)
    assert darknet_ap50(half, images) == pytest.approx(50)
    assert coco([rows()], images)[1] == darknet_ap50([rows()], images) == 0


def test_darknet_counts_a_second_box_on_the_same_truth_as_false() -> None:
    images = [truth([BOX, FAR], [0, 0])]
    found = [rows((BOX, 0.9, 0), ([12.0, 12.0, 112.0, 112.0], 0.8, 0), (FAR, 0.7, 0))]
    # Precision 1 up to recall 0.5, then 2/3.
    assert darknet_ap50(found, images) == pytest.approx(100 * (0.5 + 0.5 * 2 / 3))


def test_an_image_without_boxes_and_a_crowd() -> None:
    images = [truth([], []), truth([BOX, FAR], [0, 0], [False, True])]
    found = [rows((FAR, 0.2, 0)), rows((BOX, 0.9, 0), (FAR, 0.8, 0))]
    result = measure(found, images, ["thing"])
    assert result.ap50 == pytest.approx(100)
    assert result.classes == {"thing": 100}


def test_the_tutorials_protocol() -> None:
    found = rows(([1.9, 2.9, 50.7, 60.7], 0.9, 3), ([1.2, 2.1, 50.1, 60.2], 0.5, 4), (BOX, 0.05, 1))
    boxes, scores, classes = tutorial._as_reported(found)
    assert boxes.tolist() == [[1, 2, 50, 60]]  # whole pixels, and then one label a box
    assert scores.tolist() == pytest.approx([0.9])
    assert classes.tolist() == [3]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "expected"), [("yolov4-tiny", 43.6), ("yolov3-tiny", 41.9)])
def test_accuracy_on_real_pictures_is_the_published_one(data: Path, name: str, expected: float) -> None:
    model, names = load(ModelFiles(data / "cfg" / f"{name}.cfg", data / "weights" / f"{name}.weights"), (416, 416))
    images = read(data / "coco-val158" / "instances.json", data / "coco-val158" / "images", names)
    detect = detecting(load_engine("openvino", model), model.network, STRETCH)
    assert isinstance(model, Model)
    assert measure(predictions(detect, images, lambda: None), images, names).ap50 == pytest.approx(expected, abs=0.3)
