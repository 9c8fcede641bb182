"""Writing a model's files so that they are complete or not there, what they hash to, and how a remedy is started."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pooch

from engine.errors import ModelError

COMMAND = "uv run agent.py" if os.environ.get("UV") else "python agent.py"
"""How whoever reads a message started this, and can start the remedy."""


def cache() -> Path:
    """Return the folder for what can be made anew: $RETICLE_CACHE, or the user's cache."""
    return Path(os.environ.get("RETICLE_CACHE") or pooch.os_cache("reticle"))


def sha256(path: Path) -> str:
    """Return a file's sha256, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then put it in its place.

    :raises ModelError: it cannot be written; what was there before is there still.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise ModelError(f"{path}: cannot be written: {error.strerror or error}") from error
