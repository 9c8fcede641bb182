"""The pictures that calibration looks at: of a folder or a video, one at a time, and fit for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.images import images_in, read_image
from core.video import count_frames, pictures

FEWEST = 32
"""Fewer pictures than this leave the thresholds to chance."""
LIMIT = 512
UNFIT_SHARE = 0.1
"""How many of the pictures may be left out."""
FLAT = 3.0
"""A picture whose grey values deviate by less than this, of 255, shows nothing."""
NOISE = 0.5
"""Neighbouring pixels of a picture correlate by more than 0.9; those of noise by nothing."""


@dataclass(frozen=True)
class Pictures:
    """Where the pictures are; reading them is `each`.

    `files` are a folder's; or `frames` are indices into the video `source`.
    """

    source: Path
    files: tuple[Path, ...] = ()
    frames: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.files) or len(self.frames)

    def each(self, limit: int = LIMIT) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Yield name and pixels, uint8 (height, width, 3) BGR, one after the other.

        :param limit: evenly spaced ones where there are more.
        :raises UserError: one of them cannot be read.
        """
        some = self.part(_spread(len(self), limit))
        for file in some.files:
            yield file.name, read_image(file)
        if some.frames:
            yield from some._video()

    def part(self, indices: Iterable[int]) -> Pictures:
        """Return some of them."""
        if self.files:
            return Pictures(self.source, files=tuple(self.files[i] for i in indices))
        return Pictures(self.source, frames=tuple(self.frames[i] for i in indices))

    def without(self, names: Collection[str]) -> Pictures:
        """Return all but those of some names."""
        given = [file.name for file in self.files] or [_frame_name(index) for index in self.frames]
        return self.part(i for i, name in enumerate(given) if name not in names)

    def _video(self) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        wanted = set(self.frames)
        given, _ = pictures(self.source)
        for index, (picture, _) in enumerate(given):
            if index in wanted:
                yield _frame_name(index), picture
            if index == max(wanted):
                return


def _frame_name(index: int) -> str:
    return f"frame {index}"


def find(source: Path, limit: int = LIMIT) -> Pictures:
    """Return a folder's images or a video's frames, evenly spaced where there are more than `limit`.

    :raises UserError: there are fewer than `FEWEST`.
    """
    if source.is_dir():
        files = images_in(source)
        _enough(source, len(files), "images in this folder")
        return Pictures(source, files=tuple(files[i] for i in _spread(len(files), limit)))
    if not source.is_file():
        raise UserError(f"{source}: there is no such folder or video to calibrate on")
    count = count_frames(source)
    _enough(source, count, "frames in this video")
    return Pictures(source, frames=tuple(_spread(count, limit)))


def _spread(count: int, limit: int) -> list[int]:
    return list(range(count)) if count <= limit else [i * count // limit for i in range(limit)]


def _enough(source: Path, count: int, what: str) -> None:
    if count < FEWEST:
        raise UserError(
            f"{source}: there are {count} {what}, and calibration needs {FEWEST} or more, of the kind that the agent "
            "will see"
        )


def unfit(picture: NDArray[np.uint8]) -> str:
    """Return why a picture is no good for calibration, or nothing."""
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    deviation = float(grey.std())
    if deviation < FLAT:
        return "shows nothing (all of it is nearly one colour)"
    grey -= grey.mean()
    across = float((grey[:, 1:] * grey[:, :-1]).mean() / deviation**2)
    down = float((grey[1:] * grey[:-1]).mean() / deviation**2)
    return "is noise (its neighbouring pixels have nothing to do with each other)" if max(across, down) < NOISE else ""
