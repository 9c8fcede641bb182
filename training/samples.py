"""Pictures for training: kept in memory at the network's size, cut, flipped, recoloured, put together in fours.

Every batch is drawn from the seed, the epoch and its number alone, so that a resumed training sees what it would have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.images import read_image

GREY = 127


class Annotated(Protocol):
    """An image and its boxes, as `evaluation.datasets` reads them."""

    @property
    def path(self) -> Path: ...  # noqa: D102
    @property
    def boxes(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def classes(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def crowd(self) -> NDArray[np.bool_]: ...  # noqa: D102


@dataclass(frozen=True)
class Picture:
    """Pixels, uint8 (height, width, 3) BGR; boxes float32 (n, 4) xyxy in its pixels; classes; crowd."""

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int64]
    crowd: NDArray[np.bool_]

    @property
    def areas(self) -> NDArray[np.float32]:
        """Of the boxes, square pixels."""
        return (self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1)


@dataclass(frozen=True)
class Augment:
    """How far a picture may be changed. The defaults are those of yolov4.cfg, but for the scale.

    `scale`: a picture is shown so many times smaller or larger at the most; `move`: a part of the side it is moved by;
    `mosaic`: how many batches' pictures are four in one; hue in parts of the circle.
    """

    scale: float = 1.6
    move: float = 0.2
    flip: float = 0.5
    mosaic: float = 0.5
    hue: float = 0.1
    saturation: float = 1.5
    exposure: float = 1.5


def read(records: Sequence[Annotated], size: tuple[int, int], done: Callable[[int], None]) -> list[Picture]:
    """Read all pictures into memory, brought to the network's size as the network will see them (stretched).

    :param size: width and height, pixels.
    :param done: called with how many are read.
    :raises UserError: one cannot be read, or there are no boxes at all.
    """

    def one(record: Annotated) -> Picture:
        pixels = read_image(record.path)
        height, width = pixels.shape[:2]
        scale = np.array((size[0] / width, size[1] / height) * 2)
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
        return Picture(small, (record.boxes * scale).astype(np.float32), record.classes, record.crowd)

    with ThreadPoolExecutor() as pool:
        pictures = []
        for picture in pool.map(one, records):
            pictures.append(picture)
            done(len(pictures))
    if not any(len(picture.boxes) for picture in pictures):
        raise UserError("none of the pictures has a box, so there is nothing to learn; label some")
    return pictures


class Batches:
    """Augmented batches.

    :param size: the network's input, width and height.
    """

    def __init__(self, pictures: Sequence[Picture], size: tuple[int, int], batch: int, augment: Augment, seed: int):
        self._pictures = pictures
        self._size = size
        self._batch = batch
        self._augment = augment
        self._seed = seed

    def __len__(self) -> int:
        return max(1, len(self._pictures) // self._batch)

    def get(self, epoch: int, index: int, mosaic: bool) -> tuple[NDArray[np.uint8], list[Picture]]:
        """Return images, uint8 (batch, height, width, 3) RGB, and what is in each."""
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._pictures))
        rng = np.random.default_rng([self._seed, epoch, index + 1])
        chosen = [order[(index * self._batch + i) % len(order)] for i in range(self._batch)]
        made = [self._one(int(i), rng, mosaic) for i in chosen]
        return np.stack([cv2.cvtColor(picture.pixels, cv2.COLOR_BGR2RGB) for picture in made]), made

    def _one(self, index: int, rng: np.random.Generator, mosaic: bool) -> Picture:
        if mosaic and rng.random() < self._augment.mosaic:
            return self._four(index, rng)
        return recolour(warp(self._pictures[index], self._size, self._augment, rng), self._augment, rng)

    def _four(self, index: int, rng: np.random.Generator) -> Picture:
        """Return four pictures in one, around a point; each keeps its scale, and is cut."""
        width, height = self._size
        x, y = (int(rng.uniform(0.3, 0.7) * side) for side in (width, height))
        canvas = np.empty((height, width, 3), np.uint8)
        parts = []
        corners = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
        for i, (left, top, right, bottom) in enumerate(corners):
            which = index if i == 0 else int(rng.integers(len(self._pictures)))
            shift_x = int(rng.integers(0, width - (right - left) + 1))
            shift_y = int(rng.integers(0, height - (bottom - top) + 1))
            window = (shift_x, shift_y, shift_x + right - left, shift_y + bottom - top)
            picture = warp(self._pictures[which], self._size, self._augment, rng, window)
            canvas[top:bottom, left:right] = recolour(picture, self._augment, rng).pixels
            boxes = picture.boxes + np.array((left, top) * 2, np.float32)
            parts.append((boxes, picture.classes, picture.crowd))
        boxes, classes, crowd = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Picture(canvas, boxes, classes, crowd)


def warp(
    picture: Picture,
    size: tuple[int, int],
    augment: Augment,
    rng: np.random.Generator,
    window: tuple[int, int, int, int] | None = None,
) -> Picture:
    """Return a picture scaled, moved and flipped, of `size`.

    :param window: return only this part of that, (left, top, right, bottom).
    """
    width, height = size
    scale = np.exp(rng.uniform(-1, 1) * np.log(augment.scale))
    squeeze = np.exp(rng.uniform(-0.1, 0.1))
    sx, sy = float(scale * squeeze), float(scale / squeeze)
    dx = rng.uniform(-1, 1) * augment.move * width + (1 - sx) * width / 2
    dy = rng.uniform(-1, 1) * augment.move * height + (1 - sy) * height / 2
    if rng.random() < augment.flip:
        sx, dx = -sx, width - dx
    left, top, right, bottom = window or (0, 0, width, height)
    dx, dy = dx - left, dy - top
    shape = (right - left, bottom - top)
    # OpenCV counts from the middle of the first pixel, boxes from its edge.
    matrix: Any = np.array([[sx, 0, dx + sx / 2 - 0.5], [0, sy, dy + sy / 2 - 0.5]], np.float64)
    pixels = cv2.warpAffine(
        picture.pixels, matrix, shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(GREY,) * 3
    )
    corners = picture.boxes * np.array((sx, sy, sx, sy)) + np.array((dx, dy, dx, dy))
    if sx < 0:
        corners = corners[:, [2, 1, 0, 3]]
    boxes, classes, crowd = cut(corners.astype(np.float32), picture, shape)
    return Picture(np.asarray(pixels, np.uint8), boxes, classes, crowd)


LEAST_PX = 3.0
LEAST_SHARE = 0.25
"""How much of a box must be left when a picture is cut; less than this is crowd: not learnt, not punished."""


def cut(
    boxes: NDArray[np.float32], picture: Picture, size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.bool_]]:
    """Return boxes cut to (0, 0, *size), their classes and which are crowd; those outside are gone."""
    inside = np.clip(boxes, 0, np.array(size * 2, np.float32))
    sides = inside[:, 2:] - inside[:, :2]
    area = np.prod(sides, axis=1)
    whole = np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-6)
    kept = (sides > 0).all(axis=1)
    little = (sides < LEAST_PX).any(axis=1) | (area < LEAST_SHARE * whole)
    return inside[kept], picture.classes[kept], (picture.crowd | little)[kept]


def recolour(picture: Picture, augment: Augment, rng: np.random.Generator) -> Picture:
    """Return a picture with hue, saturation and brightness changed."""
    values = np.arange(256, dtype=np.float32)
    hue = (values + rng.uniform(-augment.hue, augment.hue) * 180) % 180

    def factor(most: float) -> float:
        return float(np.exp(rng.uniform(-1, 1) * np.log(most)))

    saturation = np.clip(values * factor(augment.saturation), 0, 255)
    exposure = np.clip(values * factor(augment.exposure), 0, 255)
    table = np.stack((hue, saturation, exposure), axis=-1).astype(np.uint8)[None]
    hsv = cv2.LUT(cv2.cvtColor(picture.pixels, cv2.COLOR_BGR2HSV), table)
    pixels = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    return Picture(np.asarray(pixels, np.uint8), picture.boxes, picture.classes, picture.crowd)
