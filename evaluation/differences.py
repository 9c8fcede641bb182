"""Where two detectors differ on the same frame: boxes that only one of them has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.drawing import draw_detections
from agent.roles import Detector
from agent.types import Detections, Frame
from core.errors import UserError
from core.geometry import iou
from core.images import encode, read_image
from evaluation.detect import rows

SAME_IOU = 0.5
"""Boxes of one class that overlap by so much are the same box."""
TILE_PX = (480, 360)
SHEET_ROWS = 8


@dataclass(frozen=True)
class Difference:
    """An image, and the boxes that one detector alone has there."""

    image: Path
    only_first: Detections
    only_second: Detections

    @property
    def weight(self) -> float:
        """How much they differ: the confidence of all boxes that stand alone."""
        return float(self.only_first.confidence.sum() + self.only_second.confidence.sum())


def unmatched(
    first: Detections, first_names: Sequence[str], second: Detections, second_names: Sequence[str], least: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of each that have no partner in the other: a box of the class's name, with an IoU of `least`.

    The most confident choose first. A class that the other does not know counts for neither.
    """
    alone = [i for i, c in enumerate(first.class_id.tolist()) if first_names[c] in second_names]
    free = {j: second_names[c] for j, c in enumerate(second.class_id.tolist()) if second_names[c] in first_names}
    overlap = iou(first.xyxy, second.xyxy)
    for i in sorted(alone, key=lambda i: -float(first.confidence[i])):
        name = first_names[first.class_id[i]]
        partners = [j for j, other in free.items() if other == name and overlap[i, j] >= least]
        if partners:
            alone.remove(i)
            del free[max(partners, key=lambda j: float(overlap[i, j]))]
    return np.array(alone, np.intp), np.array(sorted(free), np.intp)


def taken(found: Detections, chosen: NDArray[Any]) -> Detections:
    """Return some rows of detections."""
    return Detections(found.xyxy[chosen], found.confidence[chosen], found.class_id[chosen])


def compare(
    first: Detector,
    second: Detector,
    files: Sequence[Path],
    unreadable: list[str],
    done: Callable[[], None],
) -> list[Difference]:
    """Return the images on which two detectors differ, those that differ most first.

    :param unreadable: takes a sentence for each file that is no image; the others are done all the same.
    :raises UserError: the detectors have no class in common.
    """
    if not set(first.names) & set(second.names):
        raise UserError(
            f"the two models have no class in common ({', '.join(first.names[:5])} and {', '.join(second.names[:5])})"
        )
    found = []
    for index, file in enumerate(files):
        try:
            frame = Frame(read_image(file), index, 0, 0)
        except UserError as error:
            unreadable.append(str(error))
            continue
        a, b = first.detect(frame), second.detect(frame)
        alone, other = unmatched(a, first.names, b, second.names, SAME_IOU)
        if len(alone) or len(other):
            found.append(Difference(file, taken(a, alone), taken(b, other)))
        done()
    return sorted(found, key=lambda difference: -difference.weight)


def as_rows(found: Sequence[Difference], first: Detector, second: Detector) -> list[dict[str, Any]]:
    """Return differences as JSON rows: image, and the boxes that only the first and only the second has."""
    return [
        {
            "image": str(difference.image),
            "only_first": rows(difference.only_first, first.names),
            "only_second": rows(difference.only_second, second.names),
        }
        for difference in found
    ]


def sheet(found: Sequence[Difference], first: Detector, second: Detector) -> bytes:
    """Return the images that differ most, a row each, PNG: on the left what the first alone found, then the second.

    :param found: at least one.
    """
    lines = []
    for difference in found[:SHEET_ROWS]:
        picture = read_image(difference.image)
        tiles = []
        for which, alone, names in (
            ("first", difference.only_first, first.names),
            ("second", difference.only_second, second.names),
        ):
            tile, scale = fitted(picture)
            draw_detections(tile, Detections(alone.xyxy * scale, alone.confidence, alone.class_id), names)
            said = f"{difference.image.name}: only the {which} model, {len(alone)}"
            cv2.rectangle(tile, (0, TILE_PX[1] - 22), TILE_PX, (0, 0, 0), cv2.FILLED)
            cv2.putText(tile, said, (6, TILE_PX[1] - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,) * 3, 1, cv2.LINE_AA)
            tiles.append(tile)
        lines.append(np.hstack(tiles))
    return encode(np.vstack(lines), ".png")


def fitted(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    """Return a tile with a picture at its top left, and the scale."""
    height, width = picture.shape[:2]
    scale = min(TILE_PX[0] / width, TILE_PX[1] / height)
    tile = np.zeros((TILE_PX[1], TILE_PX[0], 3), np.uint8)
    small = cv2.resize(
        picture, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    tile[: small.shape[0], : small.shape[1]] = small
    return tile, scale
