"""Files and folders that are complete or not there, their hashes, and where the cache is."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from core.errors import UserError

CACHE_VARIABLE = "RETICLE_CACHE"
WAITS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
ROOT = Path(__file__).resolve().parent.parent


def is_clone() -> bool:
    """Tell a clone of the project from an installed wheel."""
    return (ROOT / "pyproject.toml").is_file()


def shipped(folder: str) -> Path:
    """Return a folder of files that come with Reticle, such as `models`: a clone's, or where the wheel puts it."""
    return ROOT / folder if is_clone() else ROOT / "reticle" / "data" / folder


def cache_folder() -> Path:
    """Return the folder for what can be made anew: $RETICLE_CACHE, or the system's place for the user's caches."""
    import platformdirs  # only where it is needed: every start would pay for it

    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("reticle", appauthor=False))


def sha256(path: Path) -> str:
    """Return a file's sha256, in hex."""
    stat = path.stat()
    return _sha256(path, (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))


@functools.lru_cache(64)
def _sha256(path: Path, state: tuple[int, ...]) -> str:
    """Hash a file once for as long as it is the same: weights are asked for by each check on the way to a run."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cannot_write(path: Path, error: OSError) -> UserError:
    """Return the sentence for a file or folder that the system refused to write."""
    return UserError(f"{path}: cannot be written: {error.strerror or error}")


def _insisting(act: Callable[[], object]) -> None:
    """Do something to a file, again for a while where Windows says that it is in use: by a virus scanner, often."""
    for wait_s in WAITS_S if os.name == "nt" else ():
        try:
            act()
            return
        except PermissionError:
            time.sleep(wait_s)
    act()


class PendingFile:
    """A file under a temporary name beside its own, which it takes once it is complete.

    :param suffix: of the temporary name, for libraries that go by it.
    :raises UserError: the folder cannot be made or written.
    """

    def __init__(self, path: Path, suffix: str = ".part") -> None:
        self.target = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A name of its own, so that two writers of one path do not mix; the last one to finish stays.
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=suffix, dir=path.parent)
        except (OSError, ValueError) as error:
            raise _refused(path, error) from error
        os.close(handle)
        self.path = Path(name)

    def open(self, mode: str = "wb") -> IO[Any]:
        """Open the temporary file for writing."""
        return self.path.open(mode, encoding=None if "b" in mode else "utf-8")

    def commit(self) -> None:
        """Give the file its own name.

        :raises UserError: it cannot be renamed; then nothing is left of it, and what was there before is there still.
        """
        try:
            self.path.chmod(0o644)
            _insisting(lambda: self.path.replace(self.target))
        except OSError as error:
            self.discard()
            raise cannot_write(self.target, error) from error

    def discard(self) -> None:
        """Remove the temporary file."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_file(path: Path, suffix: str = ".part") -> Iterator[Path]:
    """Yield a temporary path that becomes `path` at the end; after an exception nothing is left of it.

    :raises UserError: the file cannot be written.
    """
    pending = PendingFile(path, suffix)
    try:
        yield pending.path
        pending.commit()
    except OSError as error:
        if _elsewhere(error, pending.path, path):
            raise
        raise cannot_write(path, error) from error
    finally:
        pending.discard()


class PendingFolder:
    """A folder under a temporary name beside its own, which it takes once it is complete.

    :raises UserError: something is there already, or the folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.target = path
        try:
            if path.exists():
                raise UserError(f"{path}: this exists already; choose another name, or remove it")
            path.parent.mkdir(parents=True, exist_ok=True)
            self.path = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except (OSError, ValueError) as error:
            raise _refused(path, error) from error

    def commit(self) -> None:
        """Give the folder its own name.

        :raises UserError: it cannot be renamed; then nothing is left of it.
        """
        try:
            self.path.chmod(0o755)
            _insisting(lambda: self.path.rename(self.target))
        except OSError as error:
            self.discard()
            raise cannot_write(self.target, error) from error

    def discard(self) -> None:
        """Remove the temporary folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` at the end; after an exception nothing is left of it.

    :raises UserError: something is there already, or the folder cannot be written.
    """
    pending = PendingFolder(path)
    try:
        yield pending.path
        pending.commit()
    except OSError as error:
        if _elsewhere(error, pending.path, path):
            raise
        raise cannot_write(path, error) from error
    finally:
        pending.discard()


def _elsewhere(error: OSError, *places: Path) -> bool:
    """Tell whether an error is about another file than those that are written."""
    name = error.filename
    return isinstance(name, str) and not any(Path(name).is_relative_to(place) for place in places)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that it is complete or not there; a link's target is what is written.

    What is there and is no regular file (a pipe, /dev/stdout) is written to as it is.

    :raises UserError: the folder cannot be made or the file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


_encoded = json.JSONEncoder(separators=(",", ":")).encode  # made once: `json.dumps` makes one a call


class LineFile:
    """A file of JSON objects, one a line, written as they come and put in its place when it is closed.

    :raises UserError: the file cannot be made or written.
    """

    def __init__(self, path: Path) -> None:
        self._pending = PendingFile(path)
        self._file = self._pending.open("w")
        self._broken = False

    def write(self, row: dict[str, Any]) -> None:
        """Add one line; nothing more once that failed.

        :raises UserError: the disk is full.
        """
        if self._broken:
            return
        try:
            self._file.write(_encoded(row) + "\n")
        except OSError as error:
            self._broken = True
            raise cannot_write(self._pending.target, error) from error

    def close(self) -> None:
        """Put the file in its place.

        :raises UserError: it cannot be completed; then nothing is left of it.
        """
        try:
            self._file.close()
            if self._broken:
                raise UserError(f"{self._pending.target}: a line could not be written, so nothing is left of this file")
            self._pending.commit()
        except OSError as error:
            raise cannot_write(self._pending.target, error) from error
        finally:
            self._pending.discard()


def check_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written before the work that would be lost.

    :raises UserError: it is a folder, or its folder cannot be made or written.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        folder = path.is_dir()
        if "\0" in path.name:
            raise ValueError("embedded null byte")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{_shown(path)}: nothing can be written there: {reason}; name another file") from error
    if folder:
        raise UserError(f"{path}: this is a folder; name a file")


def _refused(path: Path, error: OSError | ValueError) -> UserError:
    """Return the sentence for a path that cannot be written, a name with a NUL included."""
    if isinstance(error, OSError):
        return cannot_write(path, error)
    return UserError(f"{_shown(path)}: this is no name for a file ({error})")


def _shown(path: Path) -> str:
    return repr(str(path))[1:-1] if "\0" in str(path) else str(path)
