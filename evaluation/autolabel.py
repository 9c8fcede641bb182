"""Frames of one's own game from the screen, labelled by a model, to be corrected by hand and trained on."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.context import Context
from agent.loop import ActiveRoles
from agent.plan import Options
from agent.profile import LoadedProfile, choose
from agent.roles import Detector
from agent.session import Result, play
from agent.types import Detections, Frame
from core.errors import UserError
from core.files import atomic_folder, write_atomically
from core.images import encode, thumbnail
from evaluation.middleware import NOTHING, StoppingCapture

FORMS = ("voc", "yolo")
QUALITY = 95
CHANGE = 3.0
"""How much a frame differs from the last one kept, in grey values of its thumbnail, at the least."""


@dataclass
class Collection:
    """What was collected so far."""

    frames: int = 0
    seen: int = 0
    too_soon: int = 0
    alike: int = 0
    boxes: Counter[str] = field(default_factory=Counter)


def autolabel(
    loaded: LoadedProfile,
    model: str,
    form: str,
    frames: int,
    every_s: float,
    options: Options,
    out: Path,
    done: Callable[[], None],
) -> tuple[Collection, Result]:
    """Watch by a profile's capture and write `out/images`, `out/labels` and `out/names.txt`; nothing is moved.

    Ended early, what was collected until then is there.

    :param model: the bundle that labels; the profile's detector finds with it at its own confidence.
    :param every_s: no two frames are closer than this, and none looks like the last one.
    :raises UserError: `out` is there already or cannot be written, or the profile has no capture that can run.
    """
    factory = loaded.catalogue.first("detector", lambda f: f.runs_models, "runs models")
    own = loaded.roles.detector
    settings = own.settings.model_dump(exclude_unset=True) if own.factory == factory else {}
    detector = choose(factory, "the labelling model", **{**settings, "model": model})
    collection = Collection()
    with atomic_folder(out) as folder:
        for name in ("images", "labels"):
            (folder / name).mkdir()

        def label(roles: ActiveRoles, context: Context) -> ActiveRoles:
            write_atomically(folder / "names.txt", "\n".join(roles.detector.names) + "\n")
            labelling = _LabellingDetector(roles.detector, folder, form, every_s, collection, done)
            capture = StoppingCapture(roles.capture, lambda: collection.frames >= frames)
            return replace(roles, detector=labelling, capture=capture)

        watching = loaded.with_roles(detector=detector, selection=NOTHING, guards=(), observers=())
        result = play(watching, options, middleware=[label])
        if result.error is not None:
            raise result.error
        if not collection.frames:
            raise UserError(
                f"no frame was taken of the {collection.seen} that were seen ({result.ended}): {collection.too_soon} "
                f"came too soon after another, {collection.alike} looked like the one before"
            )
    return collection, result


class _LabellingDetector:
    """A detector that keeps frames with what it found, and tells the loop of none of it, so that nothing is done."""

    def __init__(
        self,
        detector: Detector,
        folder: Path,
        form: str,
        every_s: float,
        collection: Collection,
        done: Callable[[], None],
    ) -> None:
        self.names = detector.names
        self._detect = detector.detect
        self._folder = folder
        self._form = form
        self._every_ns = int(every_s * 1e9)
        self._collection = collection
        self._done = done
        self._next_ns = 0
        self._last: NDArray[Any] | None = None

    def detect(self, frame: Frame) -> Detections:
        """Keep the frame if it is time and it is new."""
        now, collection = time.perf_counter_ns(), self._collection
        collection.seen += 1
        if now < self._next_ns:
            collection.too_soon += 1
            return Detections.empty()
        small = thumbnail(frame.pixels)
        if self._last is not None and float(np.abs(small - self._last).mean()) <= CHANGE:
            collection.alike += 1
            return Detections.empty()
        self._last = small
        self._next_ns = now + self._every_ns
        self._keep(frame)
        return Detections.empty()

    def _keep(self, frame: Frame) -> None:
        found = self._detect(frame)
        stem = f"{self._collection.frames:06d}"
        picture = np.ascontiguousarray(frame.pixels[:, :, :3])
        (self._folder / "images" / f"{stem}.jpg").write_bytes(encode(picture, ".jpg", QUALITY))
        if self._form == "voc":
            (self._folder / "labels" / f"{stem}.xml").write_bytes(voc(f"{stem}.jpg", frame, found, self.names))
        else:
            (self._folder / "labels" / f"{stem}.txt").write_text(yolo(frame, found), encoding="utf-8")
        self._collection.frames += 1
        self._collection.boxes.update(self.names[i] for i in found.class_id.tolist())
        self._done()


def voc(name: str, frame: Frame, found: Detections, names: tuple[str, ...]) -> bytes:
    """Return a frame's boxes as PASCAL VOC's XML."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = name
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", frame.width), ("height", frame.height), ("depth", 3)):
        ElementTree.SubElement(size, key).text = str(value)
    for box, kind in zip(_inside(frame, found), found.class_id.tolist(), strict=True):
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = names[kind]
        ElementTree.SubElement(item, "difficult").text = "0"
        place = ElementTree.SubElement(item, "bndbox")
        for key, edge in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(place, key).text = f"{edge:.1f}"
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8")


def yolo(frame: Frame, found: Detections) -> str:
    """Return a frame's boxes as YOLO's text: class, centre and size as parts of the picture, a line each."""
    lines = []
    for (x1, y1, x2, y2), kind in zip(_inside(frame, found), found.class_id.tolist(), strict=True):
        width, height = frame.width, frame.height
        values = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
        lines.append(f"{kind} " + " ".join(f"{value:.6f}" for value in values) + "\n")
    return "".join(lines)


def _inside(frame: Frame, found: Detections) -> list[list[float]]:
    limit = np.array((frame.width, frame.height, frame.width, frame.height), np.float32)
    boxes: list[list[float]] = np.clip(found.xyxy, 0, limit).tolist()
    return boxes
