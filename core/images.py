"""Reading and writing pictures, in one place; names may hold any character on any system."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
THUMBNAIL = (32, 24)


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder, sorted by name.

    :raises UserError: there are none.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise UserError(f"{folder}: there are no images in this folder")
    return files


def read_image(path: Path) -> NDArray[np.uint8] | None:
    """Return a picture, uint8 (height, width, 3) BGR, or None when the file is no image or is damaged."""
    try:
        data = np.fromfile(path, np.uint8)  # OpenCV's own reader takes no such names on Windows
    except OSError:
        return None
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    return None if picture is None else np.asarray(picture, np.uint8)


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
