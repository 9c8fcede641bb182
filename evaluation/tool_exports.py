"""What Label Studio and CVAT export: JSON tasks, and the XML "CVAT for images 1.1".

Their other exports are COCO, VOC and YOLO. Formats: labelstud.io/guide/task_format, docs.cvat.ai (XML annotation
format).
"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from core.errors import UserError
from core.text import class_name, read_json, shown
from evaluation.annotations import Box, Labelled, Notes, around, finite, image_file, stated_size, xml_root

CVAT = "CVAT's annotation XML"
TASKS = "Label Studio's JSON"
UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the name of a file that was uploaded."""


def is_label_studio(data: Any) -> bool:
    """Tell whether a JSON file's content is a list of tasks."""
    return isinstance(data, list) and all(isinstance(task, dict) for task in data)


def label_studio(path: Path, data: list[dict[str, Any]], folder: Path, notes: Notes) -> list[Labelled]:
    """Read Label Studio's export, JSON or JSON-MIN; tasks that nobody labelled are left out.

    :param data: what the file holds.
    :param folder: of the images.
    :raises UserError: it is none, or names an image that is missing.
    """
    records: list[Labelled] = []
    for index, task in enumerate(data):
        where = f"{path}: task {shown(task.get('id', index + 1))}"
        labelled = _results(task, where, notes)
        if labelled is None:
            notes.add("tasks that nobody has labelled, left out", where)
            continue
        record = Labelled(_task_image(task, folder, where), path)
        if record.path in {other.path for other in records}:
            raise UserError(f"{where}: its image {record.path.name} is another task's, too; list it once")
        for number, (result, value) in enumerate(labelled, 1):
            place = f"{where}, region {number}"
            record.stated = record.stated or stated_size(
                result.get("original_width"), result.get("original_height"), place
            )
            box = _region(value, place, record.stated, notes)
            if box is not None:
                record.boxes.append(box)
        # Corners are in hundredths of the picture, which is what fractions are but for their scale.
        record.fractions = True
        records.append(record)
    if not records:
        raise UserError(f"{path}: nobody has labelled any of its tasks; label them, and export them as JSON")
    return records


def _results(task: dict[str, Any], where: str, notes: Notes) -> list[tuple[dict[str, Any], dict[str, Any]]] | None:
    """Return a task's regions with their values; None where nobody labelled it."""
    annotations = task.get("annotations", task.get("completions"))
    if annotations is None:  # JSON-MIN has the regions beside the image
        lists = [value for value in task.values() if _regions(value)]
        return [(item, item) for item in lists[0]] if lists else None
    if not isinstance(annotations, list):
        raise UserError(f"{where}: annotations is {shown(annotations)}; it is a list")
    finished = [one for one in annotations if isinstance(one, dict) and not one.get("was_cancelled")]
    if not finished:
        return None
    if len(finished) > 1:
        notes.add("tasks labelled more than once, of which the last is taken", where)
    regions = finished[-1].get("result", [])
    if not isinstance(regions, list) or not all(isinstance(item, dict) for item in regions):
        raise UserError(f"{where}: result is {shown(regions)}; it is a list of regions")
    return [(item, item["value"]) for item in regions if isinstance(item.get("value"), dict)]


def _regions(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and ("x" in item or "points" in item) for item in value)
    )


def _region(value: dict[str, Any], where: str, size: tuple[int, int] | None, notes: Notes) -> Box | None:
    """Return a region's box, corners in parts of the picture; None for what is no box."""
    labels = value.get("rectanglelabels") or value.get("polygonlabels")
    if not isinstance(labels, list) or len(labels) != 1:
        notes.add("regions that are no box with one label, left out", where)
        return None
    label = class_name(labels[0], where)
    if "points" in value:
        notes.add("polygons, taken as the boxes around them", where)
        points = [finite(part, f"{where}: points") / 100 for point in _pairs(value["points"], where) for part in point]
        return Box(label, around(points), where)
    x, y, width, height = (finite(value.get(key), f"{where}: {key}") / 100 for key in ("x", "y", "width", "height"))
    if min(width, height) < 0:
        raise UserError(f"{where}: its size is negative ({width:g}x{height:g}); mend its label")
    turned = finite(value.get("rotation") or 0, f"{where}: rotation")
    if not turned:
        return Box(label, (x, y, x + width, y + height), where)
    notes.add("boxes that are turned, taken as the boxes around them", where)
    # It turns about its top left corner, in pixels: across and down are of different length in parts of the picture.
    across, down = size or (1, 1)
    sides = [(0.0, 0.0), (width * across, 0.0), (0.0, height * down), (width * across, height * down)]
    corners = [(x + dx / across, y + dy / down) for dx, dy in _turned(sides, turned)]
    return Box(label, around([value for corner in corners for value in corner]), where)


def _turned(points: Iterable[tuple[float, float]], degrees: float) -> Iterator[tuple[float, float]]:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    for x, y in points:
        yield x * cos - y * sin, x * sin + y * cos


def _pairs(points: Any, where: str) -> list[list[Any]]:
    if not isinstance(points, list) or not points or not all(isinstance(p, list) and len(p) == 2 for p in points):
        raise UserError(f"{where}: points is {shown(points)}; it is a list of [x, y]")
    return points


def _task_image(task: dict[str, Any], folder: Path, where: str) -> Path:
    data = task.get("data", task)
    source = data.get("image") if isinstance(data, dict) else None
    if not isinstance(source, str):
        raise UserError(f'{where}: its data has no text "image"')
    try:
        address = urlsplit(source)
    except ValueError as error:
        raise UserError(f"{where}: its image {shown(source)} is no address ({error})") from error
    name = parse_qs(address.query).get("d", [unquote(address.path)])[0]
    try:
        return image_file(folder, name, where)
    except UserError:
        last = name.replace("\\", "/").rsplit("/", 1)[-1]
        if not UPLOADED.match(last):
            raise
        return image_file(folder, UPLOADED.sub("", last), where)


def cvat(path: Path, folder: Path, notes: Notes) -> list[Labelled]:
    """Read CVAT's XML of images.

    :param folder: of the images.
    :raises UserError: it is none, is that of a video, or names an image that is missing.
    """
    root = xml_root(path, CVAT)
    if root.tag != "annotations":
        raise UserError(f"{path}: this is not {CVAT}: its root is {shown(root.tag)}")
    if root.find("track") is not None:
        raise UserError(f'{path}: these are the tracks of a video; export the task as "CVAT for images 1.1"')
    records: dict[Path, Labelled] = {}
    for image in root.iter("image"):
        where = f"{path}: image {shown(image.get('name', 'without name'))}"
        file = image_file(folder, image.get("name"), where)
        if file in records:
            raise UserError(f"{where}: it is listed twice; list it once")
        record = records[file] = Labelled(
            file, path, stated=stated_size(image.get("width"), image.get("height"), where)
        )
        for number, shape in enumerate(image, 1):
            place = f"{where}, {shape.tag} {number}"
            corners = _shape(shape, place, notes)
            if corners is not None:
                record.boxes.append(Box(class_name(shape.get("label"), place), corners, place))
    return list(records.values())


def _shape(shape: ElementTree.Element, where: str, notes: Notes) -> tuple[float, float, float, float] | None:
    if shape.tag == "polygon":
        notes.add("polygons, taken as the boxes around them", where)
        pairs = [part.split(",") for part in (shape.get("points") or "").split(";")]
        return around([finite(value, f"{where}: points") for pair in _pairs(pairs, where) for value in pair])
    if shape.tag != "box":
        notes.add("shapes that are no box, left out", where)
        return None
    x1, y1, x2, y2 = (finite(shape.get(key), f"{where}: {key}") for key in ("xtl", "ytl", "xbr", "ybr"))
    turned = finite(shape.get("rotation") or 0, f"{where}: rotation")
    if turned:
        notes.add("boxes that are turned, taken as the boxes around them", where)
        x, y = (x1 + x2) / 2, (y1 + y2) / 2  # it turns about its middle
        corners = [(a - x, b - y) for a in (x1, x2) for b in (y1, y2)]
        return around([value for dx, dy in _turned(corners, turned) for value in (x + dx, y + dy)])
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def class_names_of(path: Path) -> list[str]:
    """Return the class names that an export uses, sorted.

    :raises UserError: it is none.
    """
    if path.suffix == ".xml":
        root = xml_root(path, CVAT)
        shapes = [*root.findall("image/box"), *root.findall("image/polygon")]
        found = {class_name(shape.get("label"), str(path)) for shape in shapes}
    else:
        data = read_json(path, TASKS)
        if not is_label_studio(data):
            raise UserError(f"{path}: this is not {TASKS}: it is no list of tasks")
        found = {name for index, task in enumerate(data) for name in _labels(task, f"{path}: task {index + 1}")}
    if not found:
        raise UserError(f"{path}: nothing is labelled here; label some of its images, and export them again")
    return sorted(found)


def _labels(task: dict[str, Any], where: str) -> list[str]:
    values = [value for _, value in _results(task, where, Notes()) or []]
    lists = [value.get("rectanglelabels") or value.get("polygonlabels") or [] for value in values]
    return [class_name(label, where) for labels in lists if isinstance(labels, list) for label in labels]
