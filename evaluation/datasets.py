"""Annotated images: COCO's JSON, Pascal VOC's XML, YOLO's text, all as the same records."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.images import images_in, read_image

ALIASES = {
    "aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle", "pottedplant": "potted plant",
    "sofa": "couch", "tvmonitor": "tv",
}  # fmt: skip
"""What Darknet's names for COCO's classes are called in COCO."""


@dataclass(frozen=True)
class Annotated:
    """One image and its boxes: `boxes` (n, 4) xyxy in pixels, `classes` (n,), `crowd` (n,) and `areas` (n,)."""

    path: Path
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]


def read(annotations: Path, images: Path, names: Sequence[str]) -> list[Annotated]:
    """Read annotations.

    :param annotations: COCO's JSON file; or a folder of VOC's .xml or YOLO's .txt, one an image, named alike.
    :param images: the folder of the images.
    :param names: the model's classes, in order.
    :raises UserError: something cannot be read, an image is missing, or no class is one of the model's.
    """
    if not images.is_dir():
        raise UserError(f"{images}: there is no such folder of images")
    if annotations.is_file():
        return _coco(annotations, images, names)
    if not annotations.is_dir():
        raise UserError(f"{annotations}: there is no such file or folder of annotations")
    if any(annotations.glob("*.xml")):
        return _folder(annotations, images, ".xml", lambda file, image: _voc(file, names))
    if any(annotations.glob("*.txt")):
        return _folder(annotations, images, ".txt", lambda file, image: _yolo(file, image, names))
    raise UserError(f"{annotations}: there are neither .xml (VOC) nor .txt (YOLO) files in this folder")


def _index(names: Sequence[str]) -> dict[str, int]:
    index = {}
    for i, name in enumerate(names):
        index[name] = i
        index.setdefault(ALIASES.get(name, name), i)
    return index


def _coco(path: Path, folder: Path, names: Sequence[str]) -> list[Annotated]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        categories = {category["id"]: str(category["name"]) for category in data["categories"]}
        images = {image["id"]: folder / image["file_name"] for image in data["images"]}
        rows: dict[Any, list[tuple[Any, ...]]] = {image: [] for image in images}
        used = {a["category_id"] for a in data["annotations"]}
        index = _index(names)
        known = {category: index[name] for category, name in categories.items() if name in index}
        for a in data["annotations"]:
            x, y, width, height = (float(v) for v in a["bbox"])
            area = float(a.get("area") or width * height)
            if a["category_id"] in known and a["image_id"] in rows:
                row = (known[a["category_id"]], x, y, width, height, bool(a.get("iscrowd", 0)), area)
                rows[a["image_id"]].append(row)
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: this is not COCO's annotation JSON ({type(error).__name__}: {error})") from error
    if used and not used & known.keys():
        raise UserError(_strangers(path, {categories.get(c, str(c)) for c in used}, names))
    if not any(rows.values()):
        raise UserError(f"{path}: none of its annotations belongs to one of its images")
    return [_record(images[image], found, path) for image, found in rows.items()]


def _record(image: Path, rows: list[tuple[Any, ...]], source: Path) -> Annotated:
    """Return a record of (class, x, y, width, height, crowd, area) rows."""
    if not image.is_file():
        raise UserError(f"{image}: {source.name} names this image, and it is missing")
    table = np.array([row[1:5] for row in rows], np.float64).reshape(-1, 4)
    if not np.isfinite(table).all():
        raise UserError(f"{source}: a box of {image.name} is no number")
    boxes = np.concatenate((table[:, :2], table[:, :2] + table[:, 2:]), axis=1)
    areas = np.array([row[2 + 1] * row[4] if row[6] is None else row[6] for row in rows], np.float64)
    return Annotated(
        image, boxes, np.array([row[0] for row in rows], np.int64), np.array([row[5] for row in rows], bool), areas
    )


def _folder(annotations: Path, images: Path, suffix: str, parse: Any) -> list[Annotated]:
    records = []
    for image in images_in(images):
        file = annotations / f"{image.stem}{suffix}"
        rows = parse(file, image) if file.is_file() else []
        records.append(_record(image, rows, file))
    if not any(len(record.boxes) for record in records):
        raise UserError(f"{annotations}: none of these files belongs to an image in {images}, or all are empty")
    return records


def _voc(path: Path, names: Sequence[str]) -> list[tuple[Any, ...]]:
    index = _index(names)
    rows = []
    try:
        for item in ElementTree.parse(path).getroot().iter("object"):
            name = item.findtext("name", "").strip()
            if name not in index:
                raise UserError(_strangers(path, {name}, names))
            x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax"))
            crowd = item.findtext("difficult", "0").strip() == "1"  # VOC counts neither a hit nor a miss on these
            rows.append((index[name], x1, y1, x2 - x1, y2 - y1, crowd, None))
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{path}: this is not VOC's annotation XML ({error})") from error
    return rows


def _yolo(path: Path, image: Path, names: Sequence[str]) -> list[tuple[Any, ...]]:
    picture = read_image(image)
    if picture is None:
        raise UserError(f"{image}: this is no image or is damaged")
    height, width = picture.shape[:2]
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            first, *numbers = line.split()
            class_id = int(first)
            x, y, w, h = (float(number) for number in numbers)
        except ValueError as error:
            raise UserError(f'{path}:{number}: a line is a class and four numbers, not "{line[:60]}"') from error
        if not 0 <= class_id < len(names):
            raise UserError(f"{path}:{number}: there is no class {class_id}; the model knows 0 to {len(names) - 1}")
        rows.append((class_id, (x - w / 2) * width, (y - h / 2) * height, w * width, h * height, False, None))
    return rows


def _strangers(path: Path, strange: set[str], names: Sequence[str]) -> str:
    listed = ", ".join(sorted(strange)[:5])
    return (
        f"{path}: none of its classes ({listed}{', ...' if len(strange) > 5 else ''}) is one of the model's "
        f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}); name the model's classes the same"
    )
