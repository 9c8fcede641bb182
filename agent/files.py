"""Writing a file so that it is complete or not there, and finding the images of a folder."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from agent.errors import UserError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def images_in(folder: Path) -> list[Path]:
    """Return the images of a folder, sorted by name.

    :raises UserError: there are none.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise UserError(f"{folder}: there are no images in this folder")
    return files


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write to a temporary name beside the file, then rename over it; a link's target is what is written.

    What is there and is no regular file (a pipe, /dev/stdout) is written to as it is.

    :raises UserError: the folder cannot be made or the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = ""
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error


class LineFile:
    """A file of JSON objects, one a line, that is written as they come and put in its place when it is closed.

    :param what: what the lines are, for messages.
    :raises UserError: the file cannot be made or written.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A name of its own, so that two writers of one path do not mix their lines; the last one stays.
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        except OSError as error:
            raise self._error(error) from error
        self._part = Path(name)
        self._file = os.fdopen(handle, "w", encoding="utf-8")

    def write(self, row: dict[str, Any]) -> None:
        """Add one line."""
        try:
            self._file.write(json.dumps(row, separators=(",", ":")) + "\n")
        except OSError as error:
            raise self._error(error) from error

    def close(self) -> None:
        """Put the file in its place."""
        try:
            self._file.close()
            self._part.chmod(0o644)
            self._part.replace(self._path)
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> UserError:
        return UserError(f"{self._path}: the {self._what} cannot be written: {error.strerror or error}")
