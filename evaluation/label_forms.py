"""Labels as labelling tools import them: VOC, YOLO, COCO, Label Studio's tasks, CVAT's XML.

What the tools export is read by `evaluation.annotations` and `evaluation.tool_exports`.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.files import write_atomically
from core.text import to_json

LABEL_STUDIO = "label-studio.json"
CVAT = "annotations.xml"


@dataclass(frozen=True)
class Proposal:
    """An image and the boxes that a model proposes for it.

    :param name: of the file in `images/`.
    :param boxes: x1, y1, x2, y2 in pixels, within the picture.
    """

    name: str
    width: int
    height: int
    boxes: list[list[float]]
    classes: list[int]
    scores: list[float]

    @property
    def stem(self) -> str:
        """The file's name without its suffix."""
        return Path(self.name).stem


def write(form: str, folder: Path, proposals: Sequence[Proposal], names: Sequence[str]) -> None:
    """Write labels in one of `FORMS` into a data set's folder."""
    FORMS[form](folder, proposals, names)


def _voc(folder: Path, proposals: Sequence[Proposal], names: Sequence[str]) -> None:
    (folder / "labels").mkdir()
    for proposal in proposals:
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "filename").text = proposal.name
        size = ElementTree.SubElement(root, "size")
        for key, value in (("width", proposal.width), ("height", proposal.height), ("depth", 3)):
            ElementTree.SubElement(size, key).text = str(value)
        for box, kind in zip(proposal.boxes, proposal.classes, strict=True):
            item = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(item, "name").text = names[kind]
            ElementTree.SubElement(item, "difficult").text = "0"
            corners = ElementTree.SubElement(item, "bndbox")
            for key, edge in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
                ElementTree.SubElement(corners, key).text = f"{edge:.1f}"
        _write_xml(folder / "labels" / f"{proposal.stem}.xml", root)


def _yolo(folder: Path, proposals: Sequence[Proposal], names: Sequence[str]) -> None:
    del names  # they stand in names.txt
    (folder / "labels").mkdir()
    for proposal in proposals:
        lines = []
        width, height = proposal.width, proposal.height
        for (x1, y1, x2, y2), kind in zip(proposal.boxes, proposal.classes, strict=True):
            values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
            lines.append(f"{kind} " + " ".join(f"{value:.6f}" for value in values) + "\n")
        (folder / "labels" / f"{proposal.stem}.txt").write_text("".join(lines), encoding="utf-8")


def _coco(folder: Path, proposals: Sequence[Proposal], names: Sequence[str]) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, proposal in enumerate(proposals, 1):
        images.append({"id": number, "file_name": proposal.name, "width": proposal.width, "height": proposal.height})
        for (x1, y1, x2, y2), kind in zip(proposal.boxes, proposal.classes, strict=True):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": kind + 1,
                    "bbox": [round(v, 2) for v in (x1, y1, x2 - x1, y2 - y1)],
                    "area": round((x2 - x1) * (y2 - y1), 2),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": kind, "name": name} for kind, name in enumerate(names, 1)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    write_atomically(folder / "instances.json", to_json(data))


def _label_studio(folder: Path, proposals: Sequence[Proposal], names: Sequence[str]) -> None:
    """Write tasks with predictions, and the labelling configuration that they are for.

    Images are named as Label Studio's local storage serves them when its document root is the data set's folder.
    """
    tasks = []
    for proposal in proposals:
        results: list[dict[str, Any]] = []
        for i, ((x1, y1, x2, y2), kind, score) in enumerate(
            zip(proposal.boxes, proposal.classes, proposal.scores, strict=True)
        ):
            across, down = 100 / proposal.width, 100 / proposal.height
            value = {"x": x1 * across, "y": y1 * down, "width": (x2 - x1) * across, "height": (y2 - y1) * down}
            results.append(
                {
                    "id": f"{proposal.stem}-{i}",
                    "from_name": "label",
                    "to_name": "image",
                    "type": "rectanglelabels",
                    "original_width": proposal.width,
                    "original_height": proposal.height,
                    "score": round(score, 4),
                    "value": {**value, "rotation": 0, "rectanglelabels": [names[kind]]},
                }
            )
        image = f"/data/local-files/?d=images/{proposal.name}"
        tasks.append({"data": {"image": image}, "predictions": [{"model_version": "reticle", "result": results}]})
    write_atomically(folder / LABEL_STUDIO, to_json(tasks))
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", {"name": "image", "value": "$image"})
    labels = ElementTree.SubElement(view, "RectangleLabels", name="label", toName="image")
    for name in names:
        ElementTree.SubElement(labels, "Label", value=name)
    _write_xml(folder / "label-studio-config.xml", view)


def _cvat(folder: Path, proposals: Sequence[Proposal], names: Sequence[str]) -> None:
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, proposal in enumerate(proposals):
        about = {"id": str(number), "name": proposal.name}
        about |= {"width": str(proposal.width), "height": str(proposal.height)}
        image = ElementTree.SubElement(root, "image", about)
        for box, kind in zip(proposal.boxes, proposal.classes, strict=True):
            about = {"label": names[kind], "source": "auto", "occluded": "0", "z_order": "0"}
            about |= {key: f"{edge:.2f}" for key, edge in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True)}
            ElementTree.SubElement(image, "box", about)
    _write_xml(folder / CVAT, root)


def _write_xml(path: Path, root: ElementTree.Element) -> None:
    ElementTree.indent(root)
    write_atomically(path, ElementTree.tostring(root, encoding="utf-8"))


FORMS: dict[str, Callable[[Path, Sequence[Proposal], Sequence[str]], None]] = {
    "voc": _voc,
    "yolo": _yolo,
    "coco": _coco,
    "label-studio": _label_studio,
    "cvat": _cvat,
}
