"""Reading videos by OpenCV: their pictures in order, each with its own time, and what is wrong with those that fail."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Read once, when OpenCV first opens a video; what goes wrong is said by what is raised.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

FALLBACK_FPS = 30.0
ROUNDING_S = 0.0015
"""Containers round times to a millisecond: what is nearer to the constant pace than this has that pace."""
MATROSKA, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def open_video(path: Path) -> tuple[cv2.VideoCapture, NDArray[np.uint8]]:
    """Open a video; return it with its first picture, uint8 (height, width, 3) BGR.

    :raises UserError: there is no such file, it is no video, or OpenCV cannot decode it.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such footage")
    video = cv2.VideoCapture(str(path))
    opened, first = video.read() if video.isOpened() else (False, None)
    if opened and first is not None:
        return video, np.asarray(first, np.uint8)
    code = int(video.get(cv2.CAP_PROP_FOURCC)) if video.isOpened() else 0
    video.release()
    codec = code.to_bytes(4, "little", signed=code < 0).decode("latin-1").strip("\0 ") if code else ""
    if codec.isprintable() and codec:
        raise UserError(
            f'{path}: the video\'s codec "{codec}" cannot be decoded here; convert it, such as with '
            f"`ffmpeg -i {path.name} -c:v libx264 converted.mp4`"
        )
    early = "; the file is cut short" if ends_early(path) else "; is it complete, and is it a video?"
    raise UserError(f"{path}: this video cannot be read{early}")


def pace(video: cv2.VideoCapture) -> float:
    """Return a video's frames a second, on average."""
    fps = video.get(cv2.CAP_PROP_FPS)
    return float(fps) if 0 < fps < 1000 else FALLBACK_FPS


def pictures(path: Path) -> tuple[Iterator[tuple[NDArray[np.uint8], float]], float]:
    """Return an iterator of a video's pictures, each with its time in seconds from the first, and the average pace.

    The header's number of frames is not gone by: it is often a guess. A picture is an array of its own.

    :raises UserError: the video cannot be read; from the iterator, the file is cut short.
    """
    video, first = open_video(path)
    fps = pace(video)

    def each() -> Iterator[tuple[NDArray[np.uint8], float]]:
        count, begin_ms, last_s = 1, video.get(cv2.CAP_PROP_POS_MSEC), 0.0
        try:
            yield first, 0.0
            while True:
                good, picture = video.read()
                if not good:
                    break
                even = count / fps
                own = (video.get(cv2.CAP_PROP_POS_MSEC) - begin_ms) / 1e3
                # Raw streams have no times, and some files have nonsense: time goes on.
                last_s = own if own > last_s and abs(own - even) > ROUNDING_S else max(even, last_s + 1e-6)
                count += 1
                yield np.asarray(picture, np.uint8), last_s
        finally:
            video.release()
        if ends_early(path):
            raise UserError(f"{path}: the video breaks off after {count} frames: the file is cut short")

    return each(), fps


class VideoFile:
    """A video that is written picture by picture; whether all of it was written shows when it is closed.

    OpenCV says nothing of a full disk: so what is there is looked at.

    :param path: the file, and `target` what it is called in sentences.
    :param codec: its four letters.
    :raises UserError: OpenCV cannot write such a video, or not there.
    """

    def __init__(self, path: Path, target: Path, codec: str, fps: float, size: tuple[int, int]) -> None:
        self._path, self._target, self._size = path, target, size
        self._written = 0
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, size)
        if not self._writer.isOpened():
            raise UserError(f"{target}: this video cannot be written: {_obstacle(path)}")

    def write(self, picture: NDArray[np.uint8]) -> None:
        """Add a picture, uint8 (height, width, 3) BGR.

        :raises UserError: it has another size than the first.
        """
        size = (picture.shape[1], picture.shape[0])
        if size != self._size:
            raise UserError(f"{self._target}: the pictures' size changed from {self._size} to {size}")
        self._writer.write(picture)
        self._written += 1

    def close(self) -> None:
        """Complete the file.

        :raises UserError: it is not whole.
        """
        self._writer.release()
        try:
            whole = (
                not ends_early(self._path)
                and abs(stated_frames(self._path) - self._written) <= 1 + self._written // 200
            )
        except (OSError, UserError):
            whole = False
        if not whole:
            raise UserError(f"{self._target}: the video could not be written to its end: {_obstacle(self._path)}")


def stated_frames(path: Path) -> int:
    """Return how many frames a video's header says that it has.

    :raises UserError: it cannot be read.
    """
    video, _ = open_video(path)
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    video.release()
    return count


def _obstacle(path: Path) -> str:
    """Return why a file beside a video cannot be written either, found by trying."""
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or str(error)
    return "OpenCV does not say why; is there room, and does it have the codec?"


def count_frames(path: Path) -> int:
    """Return how many frames a video has: the header's number where its last frame is there, else counted.

    :raises UserError: the video cannot be read.
    """
    video, _ = open_video(path)
    try:
        stated = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        if stated > 1:
            video.set(cv2.CAP_PROP_POS_FRAMES, stated - 1)
            if video.grab() and int(video.get(cv2.CAP_PROP_POS_FRAMES)) == stated:
                return stated
    finally:
        video.release()
    video, _ = open_video(path)
    count = 1
    while video.grab():
        count += 1
    video.release()
    return count


def ends_early(path: Path) -> bool:
    """Tell whether an MP4, Matroska, WebM or AVI file is shorter than its parts say."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        if head.startswith(b"RIFF"):
            return int.from_bytes(head[4:8], "little") + 8 > size
        if head.startswith(MATROSKA):
            return _segment_ends_early(head, size)
        if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _box_ends_early(file, size)
    return False


def _box_ends_early(file: BinaryIO, size: int) -> bool:
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 0:  # to the end of the file
            return False
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:
            return False
        at += length
    return at > size


def _segment_ends_early(head: bytes, size: int) -> bool:
    length, used = _vint(head, 4)
    at = 4 + used + length
    if head[at : at + 4] != SEGMENT:
        return False
    length, used = _vint(head, at + 4)
    unknown = (1 << 7 * used) - 1  # as streams are written
    return length != unknown and at + 4 + used + length > size


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """Return one of Matroska's numbers and how many bytes it takes."""
    used = next((i for i in range(1, 9) if at < len(data) and data[at] >> (8 - i)), 8)
    return int.from_bytes(data[at : at + used], "big") & ((1 << 7 * used) - 1), used
