"""The room and its targets as a picture: a camera that turns and tilts in the middle of a round room."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from plugins.doom.wad import Wad

SPRITES = (("POSSA1", 0), ("SPOSA1", 0), ("CPOSA1", 0), ("TROOA1", 0), ("PLAYA1", 1))
"""Freedoom's pictures of what is shot at, seen from before, and the class of each: `monster` or `player`."""
FLOOR, CEILING, WALL = "FLOOR0_1", "CEIL3_5", "FLOOR4_8"
RADIUS, EYE, CEILING_ABOVE = 500.0, 41.0, 160.0
"""Of the room, from the eye, in the map's units: as high as Doom's player looks from."""
PER_DEG = 8
"""Pixels of the panorama a degree."""
HIGHEST_DEG = 75
"""How far up and down the panorama reaches."""
STEEPEST_DEG = 30.0
"""How far up and down the camera tilts."""
GRID = 8
"""Where a pixel looks is reckoned for every so many, and between them in a straight line: off by 0.01 degrees."""


@dataclass
class Target:
    """One target: its direction from the camera and how high it looks, degrees; down is positive."""

    right: float
    down: float
    height: float
    sprite: int
    born_s: float = 0.0


@dataclass(frozen=True)
class Drawn:
    """Where a target is in the picture: its sprite's box, pixels (left, top, width, height), not cut at the edges."""

    target: Target
    left: int
    top: int
    width: int
    height: int


class Scene:
    """Draws the room.

    :param focal: from the eye to the picture's plane, pixels.
    :raises UserError: there is no ViZDoom, whose Freedoom the pictures are taken from.
    """

    def __init__(self, width: int, height: int, focal: float) -> None:
        self._size = (width, height)
        self._focal = focal
        self._panorama, self._sprites = _pictures(_freedoom())
        columns, rows = width // GRID + 3, height // GRID + 3
        # The middle of every GRIDth pixel, one more on each side than there are, so that none is beyond the last.
        x = (np.arange(columns) - 1) * GRID + (GRID - 1) / 2 - (width - 1) / 2
        y = (np.arange(rows) - 1) * GRID + (GRID - 1) / 2 - (height - 1) / 2
        self._x, self._y = (values.astype(np.float32) / focal for values in np.meshgrid(x, y))

    def draw(self, right: float, down: float, targets: Sequence[Target]) -> tuple[NDArray[np.uint8], list[Drawn]]:
        """Return the picture, uint8 (height, width, 3) BGR, and the targets in it, the nearest last.

        :param right: where the camera looks, degrees; `down` likewise.
        """
        picture = self._background(right, down)
        found = [self.place(target, right, down) for target in sorted(targets, key=lambda target: target.height)]
        there = [drawn for drawn in found if drawn is not None]
        for drawn in there:
            self._paste(picture, drawn)
        return picture, there

    def place(self, target: Target, right: float, down: float) -> Drawn | None:
        """Return where a target is in the picture; None where it is behind the camera."""
        sideways, upward = math.radians(target.right - right), math.radians(target.down)
        x = math.sin(sideways) * math.cos(upward)
        y, z = math.sin(upward), math.cos(sideways) * math.cos(upward)
        tilt = math.radians(down)
        y, z = y * math.cos(tilt) - z * math.sin(tilt), y * math.sin(tilt) + z * math.cos(tilt)
        if z < 0.1:
            return None
        high = max(2, round(2 * self._focal * math.tan(math.radians(target.height) / 2)))
        sprite = self._sprites[target.sprite]
        wide = max(1, round(high * sprite.shape[1] / sprite.shape[0]))
        middle_x = self._size[0] / 2 + self._focal * x / z
        middle_y = self._size[1] / 2 + self._focal * y / z
        return Drawn(target, round(middle_x - wide / 2), round(middle_y - high / 2), wide, high)

    def covers(self, drawn: Drawn, x: float, y: float) -> bool:
        """Tell whether a point of the picture is on the target, to the pixel of its sprite."""
        across, along = (x - drawn.left) / drawn.width, (y - drawn.top) / drawn.height
        if not (0 <= across < 1 and 0 <= along < 1):
            return False
        sprite = self._sprites[drawn.target.sprite]
        return bool(sprite[int(along * sprite.shape[0]), int(across * sprite.shape[1]), 3])

    def visible(self, drawn: Drawn) -> tuple[int, int, int, int] | None:
        """Return the box of a target as far as it is in the picture, xyxy; None where it is not."""
        box = (
            max(0, drawn.left),
            max(0, drawn.top),
            min(self._size[0], drawn.left + drawn.width),
            min(self._size[1], drawn.top + drawn.height),
        )
        return box if box[2] > box[0] and box[3] > box[1] else None

    def _background(self, right: float, down: float) -> NDArray[np.uint8]:
        tilt = math.radians(down)
        y = self._y * math.cos(tilt) + math.sin(tilt)
        z = math.cos(tilt) - self._y * math.sin(tilt)
        azimuth = np.degrees(np.arctan2(self._x, z)) + right
        below = np.degrees(np.arctan2(y, np.hypot(self._x, z)))
        width, height = self._size
        maps = []
        for values in ((azimuth - np.floor((azimuth.min() + 180) / 360) * 360 + 180) * PER_DEG,
                       (below + HIGHEST_DEG) * PER_DEG):  # fmt: skip
            whole = cv2.resize(values.astype(np.float32), None, fx=GRID, fy=GRID, interpolation=cv2.INTER_LINEAR)
            maps.append(whole[GRID : GRID + height, GRID : GRID + width])
        return np.asarray(
            cv2.remap(self._panorama, maps[0], maps[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE), np.uint8
        )

    def _paste(self, picture: NDArray[np.uint8], drawn: Drawn) -> None:
        box = self.visible(drawn)
        if box is None:
            return
        sprite = self._sprites[drawn.target.sprite]
        rows = (np.arange(box[1] - drawn.top, box[3] - drawn.top) + 0.5) * sprite.shape[0] / drawn.height
        columns = (np.arange(box[0] - drawn.left, box[2] - drawn.left) + 0.5) * sprite.shape[1] / drawn.width
        pixels = sprite[rows.astype(np.intp)[:, None], columns.astype(np.intp)]
        there = pixels[..., 3] > 0
        picture[box[1] : box[3], box[0] : box[2]][there] = pixels[..., :3][there]


@cache
def _pictures(path: Path) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """Return the room all around, and the sprites; once a process, which plays many episodes."""
    wad = Wad(path)
    return _panorama(wad), [wad.picture(name) for name, _ in SPRITES]


def _freedoom() -> Path:
    spec = importlib.util.find_spec("vizdoom")
    if spec is None or spec.origin is None:
        raise UserError("the aim tasks take their pictures from the package vizdoom, which is not installed")
    return Path(spec.origin).parent / "freedoom2.wad"


def _panorama(wad: Wad) -> NDArray[np.uint8]:
    """Return the room all around, BGR: one and a half turns wide, so that no view passes its end."""
    azimuth = np.radians(np.arange(0, 540, 1 / PER_DEG) - 180)
    below = np.radians(np.arange(-HIGHEST_DEG, HIGHEST_DEG, 1 / PER_DEG))
    found = np.empty((len(below), len(azimuth), 3), np.uint8)
    wall, floor, ceiling = (wad.flat(name) for name in (WALL, FLOOR, CEILING))
    for row, angle in enumerate(below):
        plane = EYE if angle > 0 else CEILING_ABOVE
        distance = plane / abs(math.tan(angle)) if angle else math.inf
        if distance < RADIUS:
            x, y = distance * np.sin(azimuth), distance * np.cos(azimuth)
            found[row] = (floor if angle > 0 else ceiling)[y.astype(np.intp) % 64, x.astype(np.intp) % 64]
        else:
            shade = 0.55 + 0.3 * np.sign(np.sin(azimuth * 6)) * 0.3  # bays, lighter and darker
            pixels = wall[int(RADIUS * math.tan(angle)) % 64, (RADIUS * azimuth).astype(np.intp) % 64]
            found[row] = (pixels * shade[:, None]).astype(np.uint8)
    return found
