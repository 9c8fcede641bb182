"""Data sets for training: read as annotations, with their class names, and a validation set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.text import class_name, class_names
from engine.boxes import Rows
from engine.models import read_names
from evaluation.accuracy import coco
from evaluation.annotations import category_names, xml_root
from evaluation.datasets import Annotated, read
from evaluation.label_forms import CVAT, LABEL_STUDIO
from evaluation.tool_exports import class_names_of

SOURCES = {
    "instances.json": "COCO",
    CVAT: "CVAT",
    LABEL_STUDIO: "Label Studio",
    "labels": "VOC's .xml or YOLO's .txt",
}
"""What the labels of a data set are called, the first that is there."""
VALIDATION_INTERVAL = 10
"""Without a validation set of its own, every tenth picture of the data is for validation."""


def cases(
    data: Path, val: Path | None, names: Path | None, wanted: tuple[str, ...] | None
) -> tuple[list[Annotated], list[Annotated], tuple[str, ...]]:
    """Return what to train on, what to score on, and the class names.

    :param data: a folder with `images/`, and one of `SOURCES`.
    :param wanted: only these classes; the others' boxes are left out.
    :raises UserError: it is no data set, or has no such class.
    """
    listed = read_names(names) if names is not None else _names(data)
    if wanted is not None:
        strange = [name for name in wanted if name not in listed]
        if strange:
            raise UserError(f'{data}: there is no class "{strange[0]}"; it has: {", ".join(listed[:20])}')
    records = _only(_records(data, listed), listed, wanted)
    if val is not None:
        return records, _only(_records(val, listed), listed, wanted), wanted or listed
    if len(records) < VALIDATION_INTERVAL:
        raise UserError(
            f"{data}: there are {len(records)} pictures; {VALIDATION_INTERVAL} are the least, or give a validation set"
        )
    scored = records[::VALIDATION_INTERVAL]
    return [record for i, record in enumerate(records) if i % VALIDATION_INTERVAL], scored, wanted or listed


def unlabelled(names: Sequence[str], records: Sequence[Annotated]) -> list[str]:
    """Return the classes of which no picture has a box that is to be found."""
    there = {int(c) for record in records for c in record.classes[~record.crowd]}
    return [name for i, name in enumerate(names) if i not in there]


def _labels(data: Path) -> Path:
    found = next((data / name for name in SOURCES if (data / name).exists()), None)
    if found is None or not (data / "images").is_dir():
        listed = ", ".join(f"{name} ({what})" for name, what in SOURCES.items())
        raise UserError(f"{data}: this is no data set: it needs images/, and one of {listed}")
    return found


def _records(data: Path, names: Sequence[str]) -> list[Annotated]:
    return read(_labels(data), data / "images", names)


def _names(data: Path) -> tuple[str, ...]:
    labels = _labels(data)
    if (data / "names.txt").is_file():
        return read_names(data / "names.txt")
    if labels.name == "instances.json":
        return class_names(category_names(labels), str(labels))
    if labels.is_file():
        return class_names(class_names_of(labels), str(labels))
    found = set()
    for file in sorted(labels.rglob("*.xml")):
        for item in xml_root(file).iter("object"):
            found.add(class_name(" ".join((item.findtext("name") or "").split()), str(file)))
    if not found:
        raise UserError(f"{labels}: YOLO's .txt files do not say what their classes are called; name the classes")
    return tuple(sorted(found))


def _only(records: list[Annotated], listed: Sequence[str], wanted: tuple[str, ...] | None) -> list[Annotated]:
    if wanted is None:
        return records
    index = {listed.index(name): i for i, name in enumerate(wanted)}
    kept = []
    for record in records:
        rows = [i for i, c in enumerate(record.classes.tolist()) if c in index]
        if rows:  # pictures without any would be most of the data set, and teach little
            classes = record.classes[rows].copy()
            classes[:] = [index[int(c)] for c in classes]
            kept.append(Annotated(record.path, record.boxes[rows], classes, record.crowd[rows], record.areas[rows]))
    if not kept:
        raise UserError(f"no picture shows any of {', '.join(wanted)}")
    return kept


def measured(found: Sequence[Rows], pictures: Sequence[Any]) -> tuple[float, float]:
    """Return AP and AP50, points, of what was found in pictures held in memory."""
    ap, ap50, _ = coco(found, pictures)
    return ap, ap50
