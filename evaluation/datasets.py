"""Annotated images, checked once for every reader: COCO, VOC, YOLO, Label Studio and CVAT, all as one record.

Refused, by a sentence that names the place: boxes outside their picture, negative sizes, a stated size that is not the
picture's, a picture that is damaged. Put right or left out, and said in a summary: swapped corners, boxes without area,
classes that the model lacks, labels without an image.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.images import read_image
from core.text import read_json, shown
from evaluation.annotations import COCO, Box, Labelled, Notes, coco, folder
from evaluation.tool_exports import cvat, is_label_studio, label_studio

ALIASES = {
    "aeroplane": "airplane", "diningtable": "dining table", "motorbike": "motorcycle", "pottedplant": "potted plant",
    "sofa": "couch", "tvmonitor": "tv",
}  # fmt: skip
"""What Darknet's names for COCO's classes are called in COCO."""
SLACK = 0.02
"""How far over the edge a box may be, in parts of the picture: labels often are a pixel, by rounding."""

log = logging.getLogger("reticle")


@dataclass(frozen=True)
class Annotated:
    """One image and its boxes: `boxes` (n, 4) xyxy in pixels, `classes` (n,), `crowd` (n,) and `areas` (n,)."""

    path: Path
    boxes: NDArray[np.float64]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]


def read(annotations: Path, images: Path, names: Sequence[str]) -> list[Annotated]:
    """Read annotations; what was put right or left out is logged.

    :param annotations: COCO's or Label Studio's JSON, or CVAT's XML; or a folder of VOC's .xml or YOLO's .txt, one an
        image, named alike.
    :param images: the folder of the images.
    :param names: the model's classes, in order.
    :raises UserError: something cannot be read or is nonsense, an image is missing, or no class is one of the model's.
    """
    if not images.is_dir():
        raise UserError(f"{images}: there is no such folder of images")
    notes = Notes()
    records = _labelled(annotations, images, notes)
    index = _index(names)
    labels = {box.label for record in records for box in record.boxes}
    strange = {label for label in labels if _class(label, index, len(names)) is None}
    if labels and strange == labels:
        raise UserError(_strangers(annotations, strange, names))
    with ThreadPoolExecutor() as pool:
        sizes = list(pool.map(_size, records))
    found = [_checked(record, size, index, len(names), notes) for record, size in zip(records, sizes, strict=True)]
    if not any(len(record.boxes) for record in found):
        raise UserError(f"{annotations}: none of these annotations belongs to an image in {images}, or all are empty")
    for sentence in notes.sentences():
        log.warning("%s: %s", annotations, sentence)
    return found


def _labelled(annotations: Path, images: Path, notes: Notes) -> list[Labelled]:
    if annotations.is_file():
        if annotations.suffix.casefold() == ".xml":
            return cvat(annotations, images, notes)
        data = read_json(annotations, COCO)
        return (label_studio if is_label_studio(data) else coco)(annotations, data, images, notes)
    if not annotations.is_dir():
        raise UserError(f"{annotations}: there is no such file or folder of annotations")
    for suffix in (".xml", ".txt"):
        if next(annotations.rglob(f"*{suffix}"), None) is not None:
            return folder(annotations, images, suffix, notes)
    raise UserError(f"{annotations}: there are neither .xml (VOC) nor .txt (YOLO) files in this folder")


def _index(names: Sequence[str]) -> dict[str, int]:
    index = {}
    for i, name in enumerate(names):
        index[name] = i
        index.setdefault(ALIASES.get(name, name), i)
    return index


def _class(label: str | int, index: dict[str, int], count: int) -> int | None:
    """Return the model's class of a label, None where it has none."""
    if isinstance(label, int):
        return label if label < count else None
    return index.get(label)


def _size(record: Labelled) -> tuple[int, int]:
    """Return a picture's width and height.

    :raises UserError: it is damaged, or has another size than its annotations say.
    """
    height, width = read_image(record.path).shape[:2]
    if record.stated is not None and record.stated != (width, height):
        turned = ", turned by its EXIF data" if record.stated == (height, width) else ""
        raise UserError(
            f"{record.source}: says {record.stated[0]}x{record.stated[1]} for {record.path.name}, and the picture is "
            f"{width}x{height}{turned}; label the pictures as they are now"
        )
    return width, height


def _checked(record: Labelled, size: tuple[int, int], index: dict[str, int], count: int, notes: Notes) -> Annotated:
    rows = []
    for box in record.boxes:
        known = _class(box.label, index, count)
        if known is None:
            notes.add("boxes of classes that the model lacks, left out", f"{box.where}: {shown(str(box.label))}")
            continue
        corners = _inside(record, box, size)
        sides = corners[2:] - corners[:2]
        if min(sides) <= 0:
            notes.add("boxes without area, left out", box.where)
            continue
        rows.append((corners, known, box.crowd, float(np.prod(sides)) if box.area is None else box.area))
    return Annotated(
        record.path,
        np.array([row[0] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], bool),
        np.array([row[3] for row in rows], np.float64),
    )


def _inside(record: Labelled, box: Box, size: tuple[int, int]) -> NDArray[np.float64]:
    """Return a box's corners in pixels, cut to the picture.

    :raises UserError: it lies outside.
    """
    limit = np.array(size * 2, np.float64)
    corners = np.array(box.corners, np.float64) * (limit if record.fractions else 1)
    over = np.maximum(-corners, corners - limit) / limit
    if over.max() > SLACK:
        listed = ", ".join(f"{value:.6g}" for value in box.corners)
        pixels = record.fractions and max(abs(value) for value in box.corners) > 2
        why = (
            "has numbers in pixels, and this form has parts of the picture's width and height"
            if pixels
            else f"lies outside the picture ({size[0]}x{size[1]})"
        )
        raise UserError(f"{box.where}: the box ({listed}) {why}; mend its label")
    return np.clip(corners, 0, limit)


def _strangers(path: Path, strange: set[str | int], names: Sequence[str]) -> str:
    listed = ", ".join(shown(str(label)) for label in sorted(strange, key=str)[:5])
    return (
        f"{path}: none of its classes ({listed}{', ...' if len(strange) > 5 else ''}) is one of the model's "
        f"({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}); name the model's classes the same"
    )
