"""The pictures on which a model does worst: targets that it missed, and boxes where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.types import Detections
from core.images import encode, read_image
from engine.boxes import Rows
from evaluation.datasets import Annotated
from evaluation.differences import SAME_IOU, TILE_PX, fitted, taken, unmatched

CONFIDENCE = 0.25
"""The least that counts as found, as in the profiles."""
ROWS, COLUMNS = 6, 4
_FOUND, _MISSED, _FALSE, _IGNORED = (0, 200, 0), (60, 60, 255), (0, 200, 255), (150, 150, 150)
LEGEND = "green: found, red: missed, yellow: false, grey: not to be found"


@dataclass(frozen=True)
class Misses:
    """A picture, and which of its targets were missed and which of the boxes are false: indices of each."""

    image: Annotated
    boxes: NDArray[np.float32]
    missed: list[int]
    false: list[int]


def misses(found: Sequence[Rows], truth: Sequence[Annotated], names: Sequence[str]) -> list[Misses]:
    """Return the pictures with a target that was missed or a false box, the most first.

    The most confident boxes choose their targets first, of the same class and with an IoU of 0.5 or more. Boxes of
    which half or more lies on what is marked `iscrowd` are neither right nor wrong, as COCO counts.

    :param found: of each picture, boxes in pixels, confidences and classes.
    """
    wrong = [_of_picture(rows, image, names) for rows, image in zip(found, truth, strict=True)]
    some = [picture for picture in wrong if picture.missed or picture.false]
    return sorted(some, key=lambda picture: -len(picture.missed) - len(picture.false))


def _of_picture(rows: Rows, image: Annotated, names: Sequence[str]) -> Misses:
    boxes, scores, classes = rows
    seen = Detections(boxes, scores.astype(np.float32, copy=False), classes)
    sure = taken(seen, np.flatnonzero(scores >= CONFIDENCE))
    wanted = np.flatnonzero(~image.crowd)
    targets = Detections(
        image.boxes[wanted].astype(np.float32), np.ones(len(wanted), np.float32), image.classes[wanted].astype(np.int32)
    )
    alone, missed = unmatched(sure, names, targets, names, SAME_IOU)
    false = []
    for i in alone.tolist():
        crowd = image.boxes[image.crowd & (image.classes == sure.class_id[i])]
        if not (covered(sure.xyxy[i], crowd) >= SAME_IOU).any():
            false.append(i)
    return Misses(image, sure.xyxy, wanted[missed].tolist(), false)


def covered(box: NDArray[Any], by: NDArray[Any]) -> NDArray[Any]:
    """Return which part of a box each of others covers, (n,): the intersection over the box's own area."""
    sides = np.minimum(box[2:], by[:, 2:]) - np.maximum(box[:2], by[:, :2])
    return np.asarray(np.clip(sides, 0, None).prod(axis=1) / max(float((box[2:] - box[:2]).prod()), 1e-9))


def sheet(worst: Sequence[Misses], names: Sequence[str]) -> bytes:
    """Return the worst pictures, 24 at the most, with their boxes, PNG.

    :param worst: as `misses` returns them; at least one.
    """
    tiles = [_tile(picture, names) for picture in worst[: ROWS * COLUMNS]]
    columns = min(COLUMNS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    lines = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return encode(np.vstack(lines), ".png")


def _tile(picture: Misses, names: Sequence[str]) -> NDArray[np.uint8]:
    image = picture.image
    tile, scale = fitted(read_image(image.path))
    drawn = [(box, _FALSE if i in picture.false else _FOUND) for i, box in enumerate(picture.boxes)]
    for j, box in enumerate(image.boxes):
        if image.crowd[j]:
            drawn.append((box, _IGNORED))
        elif j in picture.missed:
            drawn.append((box, _MISSED))
    for box, colour in drawn:
        x1, y1, x2, y2 = (round(float(v) * scale) for v in box)
        cv2.rectangle(tile, (x1, y1), (x2, y2), colour, 1)
    missed = [names[int(image.classes[j])] for j in picture.missed]
    counts = ", ".join(f"{missed.count(name)} {name}" for name in dict.fromkeys(missed)) or "none"
    for line, said in enumerate((f"{image.path.name}: missed {counts}; false {len(picture.false)}", LEGEND)):
        y = TILE_PX[1] - 20 + 14 * line
        cv2.putText(tile, said, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(tile, said, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255,) * 3, 1, cv2.LINE_AA)
    return tile
