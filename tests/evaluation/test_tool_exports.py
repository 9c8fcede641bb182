"""Labels on their way to labelling tools and back."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from evaluation.datasets import Annotated, read
from evaluation.label_forms import CVAT, FORMS, LABEL_STUDIO, Proposal, write
from evaluation.training_data import cases

NAMES = ("monster", "other player")
WIDTH, HEIGHT = 64, 48


def _folder(path: Path, count: int) -> Path:
    (path / "images").mkdir(parents=True)
    for i in range(count):
        picture = np.full((HEIGHT, WIDTH, 3), i * 10, np.uint8)
        cv2.imwrite(str(path / "images" / f"{i:06d}.jpg"), picture)
    return path


@st.composite
def _proposals(draw: st.DrawFn) -> list[Proposal]:
    found = []
    for i in range(draw(st.integers(1, 4))):
        boxes = []
        for _ in range(draw(st.integers(0 if i else 1, 3))):
            x1, y1 = draw(st.integers(0, WIDTH - 9)), draw(st.integers(0, HEIGHT - 9))
            boxes.append(
                [float(v) for v in (x1, y1, draw(st.integers(x1 + 4, WIDTH)), draw(st.integers(y1 + 4, HEIGHT)))]
            )
        classes = [draw(st.integers(0, 1)) for _ in boxes]
        found.append(Proposal(f"{i:06d}.jpg", WIDTH, HEIGHT, boxes, classes, [0.5] * len(boxes)))
    return found


def _labelled(path: Path) -> Path:
    """Accept every prediction of Label Studio's tasks, as its export then has them."""
    tasks = json.loads(path.read_text())
    for number, task in enumerate(tasks, 1):
        [prediction] = task.pop("predictions")
        task |= {"id": number, "annotations": [{"result": prediction["result"], "was_cancelled": False}]}
        task["data"]["image"] = "/data/upload/1/0a1b2c3d-" + task["data"]["image"].rsplit("/", 1)[-1]
    path.write_text(json.dumps(tasks))
    return path


def _source(form: str, folder: Path) -> Path:
    if form == "label-studio":
        return _labelled(folder / LABEL_STUDIO)
    return folder / {"coco": "instances.json", "cvat": CVAT}.get(form, "labels")


@settings(max_examples=15, deadline=None)
@given(_proposals())
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, proposals: list[Proposal]) -> None:
    for form in FORMS:
        folder = _folder(tmp_path_factory.mktemp("data") / "set", len(proposals))
        write(form, folder, proposals, NAMES)
        found = read(_source(form, folder), folder / "images", NAMES)
        assert len(found) == len(proposals)
        for one, proposal in zip(found, proposals, strict=True):
            assert one.path.name == proposal.name
            assert one.classes.tolist() == proposal.classes
            assert np.allclose(one.boxes, np.reshape(proposal.boxes, (-1, 4)), atol=0.11)


def test_an_export_is_a_data_set_to_train_on(tmp_path: Path) -> None:
    proposals = [Proposal(f"{i:06d}.jpg", WIDTH, HEIGHT, [[4.0, 4.0, 20.0, 30.0]], [i % 2], [0.5]) for i in range(12)]
    for form in ("label-studio", "cvat", "coco"):
        folder = _folder(tmp_path / form, 12)
        write(form, folder, proposals, NAMES)
        _source(form, folder)
        train, scored, names = cases(folder, None, None, None)
        assert len(train) + len(scored) == 12
        assert names == NAMES


def _one(annotated: list[Annotated]) -> list[float]:
    [record] = annotated
    return [round(float(v), 2) for v in record.boxes[0]]


def _task(value: dict[str, object]) -> dict[str, object]:
    sizes = {"original_width": WIDTH, "original_height": HEIGHT}
    return {
        "data": {"image": "images/000000.jpg"},
        "annotations": [{"result": [{"type": "rectanglelabels", **sizes, "value": value}]}],
    }


def test_label_studio_turned_boxes_polygons_and_the_short_export(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set", 1)
    path = folder / LABEL_STUDIO
    value = {"x": 50, "y": 50, "width": 25, "height": 25, "rotation": 90, "rectanglelabels": ["monster"]}
    path.write_text(json.dumps([_task(value)]))
    # 16 x 12 pixels, turned by 90 degrees about (32, 24): 12 pixels to the left, 16 down.
    assert _one(read(path, folder / "images", NAMES)) == [20, 24, 32, 40]
    path.write_text(json.dumps([_task({"points": [[25, 25], [50, 25], [50, 75]], "polygonlabels": ["monster"]})]))
    assert _one(read(path, folder / "images", NAMES)) == [16, 12, 32, 36]
    region = {"x": 25, "y": 25, "width": 25, "height": 50, "rotation": 0, "rectanglelabels": ["monster"]}
    path.write_text(json.dumps([{"image": "/data/local-files/?d=set/images/000000.jpg", "id": 1, "label": [region]}]))
    assert _one(read(path, folder / "images", NAMES)) == [16, 12, 32, 36]


def test_cvat_turned_boxes(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set", 1)
    box = '<box label="monster" xtl="10" ytl="10" xbr="30" ybr="20" rotation="{}" occluded="0"/>'
    image = f'<annotations><image id="0" name="000000.jpg" width="{WIDTH}" height="{HEIGHT}">{{}}</image></annotations>'
    (folder / CVAT).write_text(image.format(box.format(90)))
    assert _one(read(folder / CVAT, folder / "images", NAMES)) == [15, 5, 25, 25]
    (folder / CVAT).write_text(image.format(box.format(45)))
    half = (20 + 10) / 2 * math.sqrt(0.5)
    expected = [20 - half, 15 - half, 20 + half, 15 + half]
    assert np.allclose(_one(read(folder / CVAT, folder / "images", NAMES)), expected, atol=0.01)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[{}]", "nobody has labelled"),
        ('[{"annotations": [], "data": {"image": "000000.jpg"}}]', "nobody has labelled"),
        ('[{"annotations": [{"result": []}], "data": {"image": "gone.jpg"}}]', "gone.jpg is missing"),
        ('[{"annotations": [{"result": []}], "data": {}}]', 'has no text "image"'),
        ('[{"annotations": [{"result": 3}], "data": {"image": "000000.jpg"}}]', "it is a list of regions"),
        ('[{"annotations": 3, "data": {"image": "000000.jpg"}}]', "it is a list"),
    ],
)
def test_label_studio_refuses(tmp_path: Path, content: str, says: str) -> None:
    folder = _folder(tmp_path / "set", 1)
    (folder / LABEL_STUDIO).write_text(content)
    with pytest.raises(UserError) as raised:
        read(folder / LABEL_STUDIO, folder / "images", NAMES)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("<annotation/>", "its root is"),
        ('<annotations><track id="0"/></annotations>', "tracks of a video"),
        ('<annotations><image name="gone.jpg"/></annotations>', "gone.jpg"),
        ('<annotations><image name="000000.jpg"><box label="monster" xtl="1"/></image></annotations>', "ytl"),
        ('<annotations><image name="000000.jpg"/><image name="000000.jpg"/></annotations>', "listed twice"),
    ],
)
def test_cvat_refuses(tmp_path: Path, content: str, says: str) -> None:
    folder = _folder(tmp_path / "set", 1)
    (folder / CVAT).write_text(content)
    with pytest.raises(UserError) as raised:
        read(folder / CVAT, folder / "images", NAMES)
    assert says in str(raised.value)


def test_the_short_export_with_polygons_and_boxes(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set", 1)
    path = folder / LABEL_STUDIO
    box = {"x": 25, "y": 25, "width": 25, "height": 50, "rectanglelabels": ["monster"]}
    polygon = {"points": [[25, 25], [50, 25], [50, 75]], "polygonlabels": ["other player"]}
    path.write_text(json.dumps([{"image": "000000.jpg", "id": 1, "label": [polygon, box]}]))
    [record] = read(path, folder / "images", NAMES)
    assert record.classes.tolist() == [1, 0]


def test_addresses_that_are_none_and_pictures_listed_twice(tmp_path: Path) -> None:
    folder = _folder(tmp_path / "set", 1)
    path = folder / LABEL_STUDIO
    value = {"x": 25, "y": 25, "width": 25, "height": 50, "rectanglelabels": ["monster"]}
    path.write_text(json.dumps([_task(value) | {"data": {"image": "http://[::1/x.jpg"}}]))
    with pytest.raises(UserError, match="is no address"):
        read(path, folder / "images", NAMES)
    path.write_text(json.dumps([_task(value), _task(value)]))
    with pytest.raises(UserError, match="list it once"):
        read(path, folder / "images", NAMES)


def test_tags_of_a_picture_are_no_classes(tmp_path: Path) -> None:
    from evaluation.tool_exports import class_names_of

    box = '<tag label="outdoor"/><box label="monster" xtl="10" ytl="10" xbr="30" ybr="20"/>'
    (tmp_path / CVAT).write_text(f'<annotations><image name="000000.jpg">{box}</image></annotations>')
    assert class_names_of(tmp_path / CVAT) == ["monster"]
