import json
from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evaluation.misses import misses
from tests.evaluation.test_accuracy import BOX, FAR, rows, truth

NAMES = ("thing", "other")
BOXES = st.lists(
    st.tuples(*[st.integers(0, 40)] * 2, *[st.integers(5, 40)] * 2).map(
        lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
    ),
    max_size=6,
)


def test_what_is_found_missed_and_false() -> None:
    images = [truth([BOX, FAR], [0, 0]), truth([BOX], [0]), truth([BOX, FAR], [1, 0], [False, True])]
    found = [
        rows((BOX, 0.9, 0), (BOX, 0.8, 0), (FAR, 0.2, 0)),  # twice the same, and one that is not sure enough
        rows((BOX, 0.9, 0)),
        rows((BOX, 0.9, 0), (FAR, 0.9, 0)),  # another class, and what is neither to be found nor to be punished
    ]
    worst = misses(found, images, NAMES)
    assert [picture.image for picture in worst] == [images[0], images[2]]
    assert (worst[0].missed, worst[0].false) == ([1], [1])
    assert (worst[1].missed, worst[1].false) == ([0], [0])


def test_a_box_within_a_crowd_is_neither_right_nor_wrong() -> None:
    crowd = truth([[0, 0, 400, 400]], [0], [True])
    assert misses([rows((BOX, 0.9, 0))], [crowd], NAMES) == []
    assert misses([rows((BOX, 0.9, 1))], [crowd], NAMES)[0].false == [0], "of another class"
    assert misses([rows(([350.0, 350.0, 450.0, 450.0], 0.9, 0))], [crowd], NAMES)[0].false == [0], (
        "a quarter of it alone"
    )


@given(BOXES, BOXES)
def test_targets_are_found_once_or_missed(boxes: list[list[float]], seen: list[list[float]]) -> None:
    image = truth(boxes, [0] * len(boxes))
    worst = misses([rows(*((box, 0.5, 0) for box in seen))], [image], NAMES)
    missed, false = (len(worst[0].missed), len(worst[0].false)) if worst else (0, 0)
    assert len(boxes) - missed == len(seen) - false
    assert misses([rows(*((box, 0.5, 0) for box in boxes))], [image], NAMES) == [] or len(set(map(tuple, boxes))) < len(
        boxes
    )


def test_the_sheet_of_a_model(agent, tmp_path: Path) -> None:
    assert agent("collect", "--profile", "doom.yaml", "--frames", 12, "--seed", 5, "--out", "set").returncode == 0
    annotations = json.loads((tmp_path / "set" / "instances.json").read_text())
    told = annotations["annotations"]
    told[0]["bbox"] = [0, 0, 20, 20]  # where nothing is
    told[0]["iscrowd"] = 0
    (tmp_path / "set" / "instances.json").write_text(json.dumps(annotations))
    done = agent(
        "evaluate", "--model", "doom-yolov4-tiny", "--precision", "int8", "--images", "set/images",
        "--annotations", "set/instances.json", "--sheet", "worst.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "contact sheet: worst.png" in done.stdout
    picture = cv2.imread(str(tmp_path / "worst.png"))
    assert picture.shape[0] % 360 == picture.shape[1] % 480 == 0
    red = (np.abs(picture.astype(int) - (60, 60, 255)).sum(axis=2) < 30).sum()
    assert red > 20
