"""Reading and writing pictures, in one place; names may hold any character on any system."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jfif",
        ".jpe",
        ".png",
        ".bmp",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".jp2",
        ".ppm",
        ".pgm",
    }
)
"""Of a GIF, the first picture."""
THUMBNAIL = (32, 24)

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # what goes wrong in a codec is said by what is raised


def natural(path: Path | str) -> tuple[tuple[int, int | str], ...]:
    """Return what file names are sorted by, so that frame2 comes before frame10."""
    parts = re.split(r"(\d+)", str(path))
    return tuple((0, int(part)) if i % 2 else (1, part.casefold()) for i, part in enumerate(parts) if part)


def images_in(folder: Path, nested: bool = False) -> list[Path]:
    """Return the images of a folder in natural order.

    :param nested: those of its folders too.
    :raises UserError: there are none, or it cannot be listed.
    """
    try:
        listed = folder.rglob("*") if nested else folder.iterdir()
        files = [file for file in listed if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    except OSError as error:
        raise UserError(f"{folder}: this folder cannot be listed: {error.strerror}") from error
    if not files:
        raise UserError(f"{folder}: there are no images in this folder")
    return sorted(files, key=lambda file: natural(file.relative_to(folder)))


def read_image(path: Path) -> NDArray[np.uint8]:
    """Return a picture, uint8 (height, width, 3) BGR, turned as its EXIF data say.

    :raises UserError: the file cannot be read, is no image, or ends early.
    """
    try:
        data = np.fromfile(path, np.uint8)  # OpenCV's own reader takes no such names on Windows
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{path}: this image cannot be read: {reason}") from error
    if ends_early(data.tobytes()):
        raise UserError(f"{path}: this image is damaged (it ends early); take it out or replace it")
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except cv2.error:  # more pixels than OpenCV takes
        picture = None
    if picture is None:
        raise UserError(f"{path}: this is no image or is damaged; take it out or replace it")
    return np.asarray(picture, np.uint8)


def ends_early(data: bytes) -> bool:
    """Tell whether the bytes of a JPEG, PNG, BMP or WebP break off; OpenCV fills up what is missing with grey."""
    if data.startswith(b"\xff\xd8"):
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")  # the picture's end, the last scan's beginning
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in data[-4096:]
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    return data.startswith(b"BM") and int.from_bytes(data[2:6], "little") > len(data)


def encode(picture: NDArray[np.uint8], suffix: str, quality: int | None = None) -> bytes:
    """Return a picture, uint8 (height, width, 3) BGR, as the bytes of a file.

    :param suffix: `.png` or `.jpg`.
    :param quality: of a JPEG, 0 to 100.
    :raises UserError: it cannot be encoded.
    """
    parameters = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    encoded, data = cv2.imencode(suffix, picture, parameters)
    if not encoded:
        raise UserError(f"a picture of {picture.shape[1]}x{picture.shape[0]} cannot be encoded as {suffix[1:].upper()}")
    return data.tobytes()


def thumbnail(pixels: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Return a picture, uint8 (height, width, 3 or 4), so small that it tells whether two look alike: int16 BGR."""
    return cv2.resize(pixels[:, :, :3], THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.int16)
