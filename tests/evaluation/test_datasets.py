import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.errors import UserError
from evaluation.datasets import read
from tests.pictures import picture

NAMES = ["motorbike", "person"]
BOX = [10.0, 20.0, 40.0, 60.0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), picture(0))  # 96 x 72
    return tmp_path


def coco_file(folder: Path, **changes: object) -> Path:
    data = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "b.png"}],
        "categories": [{"id": 4, "name": "motorcycle"}, {"id": 90, "name": "toothbrush"}],
        "annotations": [{"image_id": 7, "category_id": 4, "bbox": [10, 20, 30, 40], "area": 1200, "iscrowd": 0}],
    }
    path = folder / "coco.json"
    path.write_text(json.dumps(data | changes))
    return path


def voc_folder(folder: Path) -> Path:
    (folder / "voc").mkdir()
    (folder / "voc" / "a.xml").write_text(
        "<annotation><object><name>motorbike</name><bndbox><xmin>10</xmin><ymin>20</ymin><xmax>40</xmax>"
        "<ymax>60</ymax></bndbox></object></annotation>"
    )
    return folder / "voc"


def yolo_folder(folder: Path) -> Path:
    (folder / "txt").mkdir()
    (folder / "txt" / "a.txt").write_text(f"0 {25 / 96} {40 / 72} {30 / 96} {40 / 72}\n")
    return folder / "txt"


@pytest.mark.parametrize("form", [coco_file, voc_folder, yolo_folder])
def test_three_forms_say_the_same(folder: Path, form) -> None:
    first, second = read(form(folder), folder / "images", NAMES)
    assert first.path.name == "a.png"
    np.testing.assert_allclose(first.boxes, [BOX], atol=1e-6)
    assert first.classes.tolist() == [0]
    assert first.areas.tolist() == pytest.approx([1200])
    assert second.boxes.shape == (0, 4)
    assert second.crowd.dtype == bool


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"annotations": [{"image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 4]}]}, r"none of its classes \(toothbrush\) is one of the model's"),
        ({"annotations": [{"image_id": 99, "category_id": 4, "bbox": [1, 2, 3, 4]}]}, "none of its annotations belongs to one of its images"),
        ({"annotations": []}, "none of its annotations"),
        ({"images": []}, "none of its annotations"),
        ({"annotations": [{"image_id": 7, "category_id": 4, "bbox": ["a", 2, 3, 4]}]}, "not COCO's annotation JSON"),
        ({"annotations": [{"image_id": 7, "category_id": 4, "bbox": [1, 2, 3]}]}, "not COCO's annotation JSON"),
        ({"annotations": [{"image_id": [7], "category_id": 4, "bbox": [1, 2, 3, 4]}]}, "not COCO's annotation JSON"),
        ({"annotations": [{"image_id": 7, "category_id": 4, "bbox": [1, 2, float("nan"), 4]}]}, "a box of a.png is no number"),
        ({"images": [{"id": 7, "file_name": "gone.png"}]}, "gone.png: coco.json names this image, and it is missing"),
    ],
)  # fmt: skip
def test_coco_that_is_wrong_is_one_sentence(folder: Path, changes: dict, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read(coco_file(folder, **changes), folder / "images", NAMES)


def test_text_that_is_wrong_names_the_line(folder: Path) -> None:
    texts = yolo_folder(folder)
    for text, says in (
        ("0 1 2 3\n", "a.txt:1: a line is a class and four numbers"),
        ("\n5 .1 .1 .1 .1\n", "a.txt:2: there is no class 5"),
        ("0 nan .1 .1 .1", "is no number"),
    ):
        (texts / "a.txt").write_text(text)
        with pytest.raises(UserError, match=says):
            read(texts, folder / "images", NAMES)
    xml = voc_folder(folder)
    for text, says in (
        ("<annotation>", "not VOC's annotation XML"),
        ("<annotation><object><name>horse</name></object></annotation>", r"\(horse\)"),
    ):
        (xml / "a.xml").write_text(text)
        with pytest.raises(UserError, match=says):
            read(xml, folder / "images", NAMES)


def test_folders_that_are_not_there_or_empty(folder: Path) -> None:
    with pytest.raises(UserError, match="no such folder of images"):
        read(coco_file(folder), folder / "nowhere", NAMES)
    with pytest.raises(UserError, match="no such file or folder of annotations"):
        read(folder / "nothing.json", folder / "images", NAMES)
    with pytest.raises(UserError, match=r"neither .xml \(VOC\) nor .txt \(YOLO\)"):
        read(folder / "images", folder / "images", NAMES)
