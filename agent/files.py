"""Writing a file so that it is complete or not there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from agent.errors import UserError


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write to a temporary name beside the file, then rename over it.

    :raises UserError: the folder cannot be made or the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = ""
    try:
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
