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


def one(**changes: object) -> dict:
    """Changes to the COCO file: its one annotation with some fields replaced, or left out where they are None."""
    given = {"id": 5, "image_id": 7, "category_id": 4, "bbox": [10, 20, 30, 40], **changes}
    return {"annotations": [{key: value for key, value in given.items() if value is not None}]}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (one(category_id=90), r"none of its classes \(toothbrush\) is one of the model's"),
        (one(image_id=99), "none of these annotations belongs to an image"),
        ({"annotations": []}, "none of these annotations"),
        ({"annotations": 3}, 'has no list "annotations"'),
        ({"annotations": [3]}, r"annotations\[0\] is 3"),
        ({"images": []}, "none of these annotations"),
        (one(bbox=["a", 2, 3, 4]), "annotation 5: bbox: 'a' is no number"),
        (one(bbox=[1, 2, 3]), r"annotation 5: bbox is \[1, 2, 3\]; it is \[x, y, width, height\]"),
        (one(bbox=None), "annotation 5: bbox is null"),
        (one(bbox=[]), r"annotation 5: bbox is \[\]"),
        (one(bbox=[10, 20, -30, 40]), "annotation 5: its size is negative"),
        (one(area=-1), "annotation 5: its size is negative"),
        (one(bbox=[5000, 20, 30, 40]), r"the box \(5000, 20, 5030, 60\) lies outside the picture \(96x72\); mend"),
        (one(bbox=[10, 20, 10**400, 40]), "annotation 5: bbox: a number of more than 300 digits is no finite number"),
        (one(image_id=[7]), r"annotation 5: image_id is \[7\]; it is a number or a text"),
        (one(bbox=[1, 2, float("nan"), 4]), "it is not JSON"),
        ({"images": [{"id": 7, "file_name": "gone.png"}]}, "image 7: its file gone.png is missing in"),
        ({"images": [{"id": 7, "file_name": "x" * 5000}]}, r"image 7: its file x+\.\.\. is missing in"),
        ({"images": [{"id": 7, "file_name": "a.png"}] * 2}, "image 7: this id stands there twice"),
        ({"images": [{"id": 7, "file_name": "a.png", "width": 192, "height": 144}]},
         r"says 192x144 for a\.png, and the picture is 96x72; label"),
        ({"images": [{"id": 7, "file_name": "a.png", "width": 72, "height": 96}]}, "turned by its EXIF data"),
        ({"categories": [{"id": 4, "name": 5}]}, "category 4: a class name is text, not 5"),
    ],
)  # fmt: skip
def test_coco_that_is_wrong_is_one_sentence(folder: Path, changes: dict, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        read(coco_file(folder, **changes), folder / "images", NAMES)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_text_that_is_wrong_names_the_line(folder: Path) -> None:
    texts = yolo_folder(folder)
    for text, says in (
        ("0 1 2 3\n", "a.txt:1: a line is a class and four numbers"),
        ("\n5 .1 .1 .1 .1\n", r"none of its classes \(5\)"),
        ("0.5 .1 .1 .1 .1\n", "a.txt:1: a class is a whole number from 0, not 0.5"),
        ("-1 .1 .1 .1 .1\n", "a.txt:1: a class is a whole number from 0, not -1"),
        ("0 nan .1 .1 .1", "a.txt:1: .*'nan' is no number"),
        ("0 1_0 .1 .1 .1", "'1_0' is no number"),
        ("0 .5 .5 -.1 .1", "a.txt:1: its size is negative"),
        ("0 48 36 30 40", "has numbers in pixels, and this form has parts of the picture's width and height"),
        ("0 .5 .5 1.2 .1", r"a.txt:1: the box .* lies outside the picture \(96x72\)"),
    ):
        (texts / "a.txt").write_text(text)
        with pytest.raises(UserError, match=says):
            read(texts, folder / "images", NAMES)


def test_xml_that_is_wrong_names_object_and_field(folder: Path) -> None:
    xml = voc_folder(folder)
    good = (xml / "a.xml").read_text()
    for text, says in (
        ("<annotation>", "not VOC's annotation XML"),
        (good.replace("motorbike", "horse"), r"\(horse\)"),
        (good.replace("<xmin>10</xmin>", ""), r"object 1 \(motorbike\): bndbox/xmin is missing"),
        (good.replace("10", "ten"), r"object 1 \(motorbike\): bndbox/xmin: 'ten' is no number"),
        (good.replace("40", "4000"), r"object 1 \(motorbike\): the box \(10, 20, 4000, 60\) lies outside"),
        ('<?xml version="1.0" encoding="foo"?>' + good, r"not VOC's annotation XML \(unknown encoding: foo\)"),
        ("<annotation><size><width>9</width><height>9</height></size>" + good[12:], "says 9x9 for a.png"),
    ):
        (xml / "a.xml").write_text(text)
        with pytest.raises(UserError, match=says):
            read(xml, folder / "images", NAMES)
    (xml / "a.xml").write_bytes(b'<?xml version="1.0" encoding="ascii"?>' + good.replace("o", "\u00f6").encode())
    with pytest.raises(UserError, match="not VOC's annotation XML"):
        read(xml, folder / "images", NAMES)


def only(records: list) -> tuple[list, list]:
    first = records[0]
    return first.boxes.round(6).tolist(), first.classes.tolist()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.0 {x} {y} {w} {h}", ""),
        ("0 {x} {y} {w} {h} 0.93", "confidences behind the boxes, left out: 1"),
        ("0 {l} {t} {r} {t} {r} {b} {l} {b}", "polygons, taken as the boxes around them: 1"),
        ("0 {x} {y} {w} {h}\n80 .5 .5 .1 .1", "boxes of classes that the model lacks, left out: 1"),
        ("0 {x} {y} {w} {h}\n0 .5 .5 0 .1", "boxes without area, left out: 1"),
        ("\ufeff0 {x} {y} {w} {h}\r\n", ""),
        ("0 {x} {y} {w} {h}\r", ""),
    ],
)
def test_what_can_be_put_right_is_and_is_said(
    folder: Path, text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    texts = yolo_folder(folder)
    box = {
        "x": 25 / 96,
        "y": 40 / 72,
        "w": 30 / 96,
        "h": 40 / 72,
        "l": 10 / 96,
        "t": 20 / 72,
        "r": 40 / 96,
        "b": 60 / 72,
    }
    (texts / "a.txt").write_text(text.format(**box), encoding="utf-8", newline="")
    assert only(read(texts, folder / "images", NAMES)) == ([BOX], [0])
    assert said in caplog.text
    assert "images without a label file, taken to show nothing: 1" in caplog.text


def test_swapped_corners_are_put_right(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    xml = voc_folder(folder)
    good = (xml / "a.xml").read_text()
    (xml / "a.xml").write_text(good.replace("<xmin>10", "<xmin>40").replace("<xmax>40", "<xmax>10"))
    assert only(read(xml, folder / "images", NAMES)) == ([BOX], [0])
    assert "boxes with swapped corners, put right: 1, the first" in caplog.text


@pytest.mark.parametrize("form", [coco_file, voc_folder, yolo_folder])
def test_classes_that_the_model_lacks_are_left_out_alike(folder: Path, form, caplog: pytest.LogCaptureFixture) -> None:
    where = form(folder)
    if form is coco_file:
        again = one()["annotations"][0]
        where = coco_file(folder, annotations=[again, {**again, "id": 6, "category_id": 90}])
    elif form is voc_folder:
        text = (where / "a.xml").read_text()
        item = text[len("<annotation>") : -len("</annotation>")]
        (where / "a.xml").write_text(f"<annotation>{item}{item.replace('motorbike', 'tank')}</annotation>")
    else:
        with (where / "a.txt").open("a") as file:
            file.write("7 .5 .5 .1 .1\n")
    assert only(read(where, folder / "images", NAMES)) == ([BOX], [0])
    assert "boxes of classes that the model lacks, left out: 1" in caplog.text


def test_folders_within_folders_and_names_with_folders(folder: Path) -> None:
    (folder / "nested" / "train").mkdir(parents=True)
    (folder / "images" / "a.png").rename(folder / "nested" / "train" / "a.png")
    (yolo_folder(folder) / "train").mkdir()
    (folder / "txt" / "a.txt").rename(folder / "txt" / "train" / "a.txt")
    assert only(read(folder / "txt", folder / "nested", NAMES)) == ([BOX], [0])
    for name in ("images/train/a.png", "nested\\train\\a.png", "train/a.png"):
        file = coco_file(folder, images=[{"id": 7, "file_name": name}])
        assert only(read(file, folder / "nested", NAMES)) == ([BOX], [0])


def test_labels_without_an_image_and_damaged_images(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = yolo_folder(folder)
    (texts / "classes.txt").write_text("motorbike\n")
    (texts / "gone.txt").write_text("0 .5 .5 .1 .1\n")
    assert only(read(texts, folder / "images", NAMES)) == ([BOX], [0])
    assert "label files without an image, left out: 1, the first" in caplog.text
    data = cv2.imencode(".jpg", picture(0))[1].tobytes()
    (folder / "images" / "c.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"c\.jpg: this image is damaged \(it ends early\)"):
        read(texts, folder / "images", NAMES)


def test_folders_that_are_not_there_or_empty(folder: Path) -> None:
    with pytest.raises(UserError, match="no such folder of images"):
        read(coco_file(folder), folder / "nowhere", NAMES)
    with pytest.raises(UserError, match="no such file or folder of annotations"):
        read(folder / "nothing.json", folder / "images", NAMES)
    with pytest.raises(UserError, match=r"neither .xml \(VOC\) nor .txt \(YOLO\)"):
        read(folder / "images", folder / "images", NAMES)


def test_classes_without_a_box_are_told() -> None:
    from evaluation.training_data import unlabelled
    from tests.evaluation.test_accuracy import BOX, truth

    records = [truth([BOX, BOX], [0, 2], [False, True]), truth([], [])]
    assert unlabelled(("monster", "player", "hidden"), records) == ["player", "hidden"]
    assert unlabelled(("monster",), records) == []
