"""Three forms of annotations as they stand in their files: COCO's JSON, Pascal VOC's XML, YOLO's text.

Those of Label Studio and CVAT are in `evaluation.tool_exports`. What they all say is checked afterwards, in one place:
`evaluation.datasets`.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import UserError, first_line
from core.images import images_in
from core.text import class_name, number, read_json, read_text, shown

COCO = "COCO's annotation JSON"
ASIDE = frozenset({"classes.txt", "names.txt", "labels.txt", "obj.names", "readme.txt"})
"""What labelling programs put beside the labels."""


@dataclass(frozen=True)
class Box:
    """A box as it stands in its file.

    :param label: the class's name, or its number.
    :param corners: x1, y1, x2, y2 in pixels, or in parts of the picture's width and height.
    :param where: the file and the place in it, for sentences.
    """

    label: str | int
    corners: tuple[float, float, float, float]
    where: str
    crowd: bool = False
    area: float | None = None


@dataclass
class Labelled:
    """An image and its boxes.

    :param stated: the width and height that the annotations say it has.
    :param fractions: whether corners are parts of its width and height.
    """

    path: Path
    source: Path
    boxes: list[Box] = field(default_factory=list)
    stated: tuple[int, int] | None = None
    fractions: bool = False


class Notes:
    """What was put right or left out, counted by kind, with the first place of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, kind: str, where: str) -> None:
        """Count one."""
        self._counts[kind] += 1
        self._first.setdefault(kind, where)

    def sentences(self) -> list[str]:
        """Return a sentence for each kind."""
        return [f"{kind}: {count}, the first {self._first[kind]}" for kind, count in self._counts.items()]


def coco(path: Path, data: Any, folder: Path, notes: Notes) -> list[Labelled]:
    """Read COCO's instances.json.

    :param data: what the file holds.
    :param folder: of the images.
    :raises UserError: it is none, or names an image that is missing.
    """
    categories = {}
    for item in _items(data, "categories", path):
        where = f"{path}: category {shown(_get(item, 'id', path))}"
        categories[_id(item, "id", where)] = class_name(_get(item, "name", where), where)
    images: dict[Any, Labelled] = {}
    files: dict[Path, str] = {}
    for item in _items(data, "images", path):
        where = f"{path}: image {shown(_get(item, 'id', path))}"
        key, file = _id(item, "id", where), image_file(folder, _get(item, "file_name", where), where)
        if key in images:
            raise UserError(f"{where}: this id stands there twice; give each image its own")
        if file in files:
            raise UserError(f"{where}: {file.name} is also image {files[file]}; list it once")
        files[file] = shown(key)
        images[key] = Labelled(file, path, stated=stated_size(item.get("width"), item.get("height"), where))
    for item in _items(data, "annotations", path):
        where = f"{path}: annotation {shown(item.get('id', 'without id'))}"
        image = images.get(_id(item, "image_id", where))
        if image is None:
            notes.add("annotations of images that are not listed, left out", where)
            continue
        category = _id(item, "category_id", where)
        x, y, width, height = _coco_box(item, where)
        area = item.get("area")
        size = None if area is None else finite(area, f"{where}: area")
        if min(width, height) < 0 or (size is not None and size < 0):
            raise UserError(f"{where}: its size is negative ({width:g}x{height:g}, area {size}); mend its label")
        label = categories.get(category, f"category {shown(category)}")
        image.boxes.append(Box(label, (x, y, x + width, y + height), where, bool(item.get("iscrowd")), size or None))
    return list(images.values())


def category_names(path: Path) -> tuple[str, ...]:
    """Return the names of COCO's categories in the order of their ids.

    :raises UserError: it is no instances.json.
    """
    found = []
    for item in _items(read_json(path, COCO), "categories", path):
        where = f"{path}: category {shown(_get(item, 'id', path))}"
        found.append((finite(_id(item, "id", where), where), class_name(_get(item, "name", where), where)))
    return tuple(name for _, name in sorted(found))


def folder(annotations: Path, images: Path, suffix: str, notes: Notes) -> list[Labelled]:
    """Read a folder of VOC's .xml or YOLO's .txt, one an image, named alike; folders within it as the images'.

    :raises UserError: one of them cannot be read.
    """
    parse: Callable[[Path, Labelled, Notes], None] = voc if suffix == ".xml" else yolo
    files = {file for file in annotations.rglob(f"*{suffix}") if file.name.casefold() not in ASIDE}
    records = []
    for image in images_in(images, nested=True):
        own = annotations / image.relative_to(images).with_suffix(suffix)
        flat = annotations / f"{image.stem}{suffix}"
        file = own if own in files else flat
        record = Labelled(image, file, fractions=suffix == ".txt")
        if file in files:
            parse(file, record, notes)
        else:
            notes.add("images without a label file, taken to show nothing", str(image))
        records.append(record)
    for file in sorted(files - {record.source for record in records}):
        notes.add("label files without an image, left out", str(file))
    return records


def voc(path: Path, record: Labelled, notes: Notes) -> None:
    """Read a VOC .xml into a record.

    :raises UserError: it is none.
    """
    root = xml_root(path)
    record.stated = stated_size(root.findtext("size/width"), root.findtext("size/height"), str(path))
    for index, item in enumerate(root.iter("object"), 1):
        where = f"{path}: object {index}"
        name = class_name(" ".join((item.findtext("name") or "").split()), where)
        where = f"{where} ({name})"
        x1, y1, x2, y2 = (_voc_number(item, f"bndbox/{key}", where) for key in ("xmin", "ymin", "xmax", "ymax"))
        if x2 < x1 or y2 < y1:
            notes.add("boxes with swapped corners, put right", where)
        corners = (min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2))
        # VOC counts neither a hit nor a miss on what is difficult.
        record.boxes.append(Box(name, corners, where, (item.findtext("difficult") or "").strip() == "1"))


def xml_root(path: Path, what: str = "VOC's annotation XML") -> ElementTree.Element:
    """Return the root of an XML file in whatever encoding it declares.

    :raises UserError: it is not XML, or not in that encoding.
    """
    try:
        data = path.read_bytes()
        declared = re.match(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.-]+)["']""", data)
        if declared and not declared[1].lower().startswith((b"utf-8", b"utf8", b"utf-16")):
            return ElementTree.fromstring(data.decode(declared[1].decode()))
        return ElementTree.fromstring(read_text(path, what))
    except OSError as error:
        raise UserError(f"{path}: {what} cannot be read: {error.strerror}") from error
    except (ElementTree.ParseError, LookupError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: this is not {what} ({shown(first_line(error))})") from error


def yolo(path: Path, record: Labelled, notes: Notes) -> None:
    """Read a YOLO .txt into a record.

    :raises UserError: a line is no label.
    """
    for index, line in enumerate(read_text(path, "YOLO's labels").split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path}:{index}"
        try:
            label, *values = (number(word) for word in line.split())
        except ValueError as error:
            raise UserError(f'{where}: a line is a class and four numbers, not "{shown(line, 60)}" ({error})') from None
        if label < 0 or label != int(label):
            raise UserError(f"{where}: a class is a whole number from 0, not {label:g}")
        if len(values) == 5:
            notes.add("confidences behind the boxes, left out", where)
            values.pop()
        if len(values) == 4:
            x, y, width, height = values
            if min(width, height) < 0:
                raise UserError(f"{where}: its size is negative ({width:g}x{height:g}); mend its label")
            corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        elif len(values) >= 6 and len(values) % 2 == 0:
            notes.add("polygons, taken as the boxes around them", where)
            corners = around(values)
        else:
            raise UserError(f'{where}: a line is a class and four numbers, not "{shown(line, 60)}"')
        record.boxes.append(Box(int(label), corners, where))


def around(values: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the corners around a polygon of x, y, x, y, ..."""
    return min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])


def _items(data: Any, key: str, path: Path) -> Iterator[dict[str, Any]]:
    listed = data.get(key) if isinstance(data, dict) else None
    if not isinstance(listed, list):
        raise UserError(f'{path}: this is not {COCO}: it has no list "{key}"')
    for index, item in enumerate(listed):
        if not isinstance(item, dict):
            raise UserError(f"{path}: this is not {COCO}: {key}[{index}] is {shown(item)}")
        yield item


def _get(item: dict[str, Any], key: str, where: Any) -> Any:
    if key not in item:
        raise UserError(f"{where}: has no {key}")
    return item[key]


def _id(item: dict[str, Any], key: str, where: str) -> int | str:
    value = _get(item, key, where)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UserError(f"{where}: {key} is {shown(value)}; it is a number or a text")
    return value


def finite(value: Any, where: str) -> float:
    """Return a number as `core.text.number` does.

    :raises UserError: it is none; the sentence begins with `where`.
    """
    try:
        return number(value)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None


def _coco_box(item: dict[str, Any], where: str) -> tuple[float, float, float, float]:
    box, outline = item.get("bbox"), item.get("segmentation")
    if not box and isinstance(outline, list) and outline and all(isinstance(part, list) and part for part in outline):
        points = [finite(value, f"{where}: segmentation") for part in outline for value in part]
        x1, y1, x2, y2 = around(points)
        return x1, y1, x2 - x1, y2 - y1
    if not isinstance(box, list) or len(box) != 4:
        raise UserError(f"{where}: bbox is {shown(box)}; it is [x, y, width, height]")
    x, y, width, height = (finite(value, f"{where}: bbox") for value in box)
    return x, y, width, height


def _voc_number(item: ElementTree.Element, key: str, where: str) -> float:
    text = item.findtext(key)
    if text is None or not text.strip():
        raise UserError(f"{where}: {key} is missing; label it again")
    return finite(text, f"{where}: {key}")


def stated_size(width: Any, height: Any, where: str) -> tuple[int, int] | None:
    """Return the size that annotations state; 0, which some programs write, states none."""
    if width is None or height is None:
        return None
    sides = int(finite(width, f"{where}: width")), int(finite(height, f"{where}: height"))
    return sides if min(sides) > 0 else None


def image_file(folder: Path, name: Any, where: str) -> Path:
    """Return the file that an image's name means, also where the name has folders in front that are not there."""
    if not isinstance(name, str) or not name:
        raise UserError(f"{where}: file_name is {shown(name)}; it is the name of a file")
    parts = name.replace("\\", "/").split("/")
    try:
        for start in range(len(parts)):
            file = folder.joinpath(*(part for part in parts[start:] if part))
            if file.is_file():
                return file
    except (OSError, ValueError):  # a name too long, or with a NUL
        pass
    raise UserError(f"{where}: its file {shown(name)} is missing in {folder}")
