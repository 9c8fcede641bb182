"""The pictures on which a model does worst: targets that it missed, and boxes where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.geometry import iou
from core.images import encode, read_image
from engine.boxes import Rows
from evaluation.datasets import Annotated

CONFIDENCE = 0.25
"""The least that counts as found, as in the profiles."""
SAME_IOU = 0.5
TILE_PX = (480, 360)
ROWS, COLUMNS = 6, 4
_FOUND, _MISSED, _FALSE, _IGNORED = (0, 200, 0), (60, 60, 255), (0, 200, 255), (150, 150, 150)
LEGEND = "green: found, red: missed, yellow: false, grey: not to be found"


@dataclass(frozen=True)
class Misses:
    """A picture, and which of its targets were missed and which of the boxes are false: indices of each."""

    image: Annotated
    boxes: NDArray[np.float64]
    missed: list[int]
    false: list[int]


def misses(found: Sequence[Rows], truth: Sequence[Annotated]) -> list[Misses]:
    """Return the pictures with a target that was missed or a false box, the most first.

    The most confident boxes choose their targets first, of the same class and with an IoU of 0.5 or more. Boxes of
    which half or more lies on what is marked `iscrowd` are neither right nor wrong, as COCO counts.

    :param found: of each picture, boxes in pixels, confidences and classes.
    """
    wrong = [_of_picture(rows, image) for rows, image in zip(found, truth, strict=True)]
    some = [picture for picture in wrong if picture.missed or picture.false]
    return sorted(some, key=lambda picture: -len(picture.missed) - len(picture.false))


def _of_picture(rows: Rows, image: Annotated) -> Misses:
    sure = np.flatnonzero(rows[1] >= CONFIDENCE)
    sure = sure[np.argsort(-rows[1][sure], kind="stable")]
    boxes, classes = np.asarray(rows[0], np.float64).reshape(-1, 4)[sure], np.asarray(rows[2])[sure]
    overlap = iou(boxes, image.boxes) if len(boxes) and len(image.boxes) else np.zeros((len(boxes), len(image.boxes)))
    free = set(np.flatnonzero(~image.crowd).tolist())
    false = []
    for i in range(len(boxes)):
        same = image.classes == classes[i]
        partners = [j for j in free if same[j] and overlap[i, j] >= SAME_IOU]
        if partners:
            free.remove(max(partners, key=lambda j: float(overlap[i, j])))
        elif not (covered(boxes[i], image.boxes[same & image.crowd]) >= SAME_IOU).any():
            false.append(i)
    return Misses(image, boxes, sorted(free), false)


def covered(box: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
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
    pixels = read_image(picture.image.path)
    scale = min(TILE_PX[0] / pixels.shape[1], TILE_PX[1] / pixels.shape[0])
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    tile = np.zeros((TILE_PX[1], TILE_PX[0], 3), np.uint8)
    tile[: small.shape[0], : small.shape[1]] = small
    image = picture.image
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
