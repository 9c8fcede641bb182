"""Finding the installed game: its program, its data, the maps there are."""

from __future__ import annotations

import functools
import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.context import Context
from core.errors import UserError
from plugins.openarena.settings import Place, Settings

GAME = "baseoa"
FOLDERS = ("/usr/lib/openarena", "/usr/share/games/openarena", "/usr/local/games/openarena", "/opt/openarena")
"""Where packages put the data."""
PROGRAMS = ("openarena.x86_64", "openarena.exe", "openarena", "ioquake3.x86_64", "ioquake3.exe", "ioquake3")
ENGINES = ("/usr/lib/ioquake3/ioquake3",)


@dataclass(frozen=True)
class Installation:
    """The game's program and the folder that holds its data, `baseoa`."""

    engine: Path
    folder: Path

    def archives(self) -> list[Path]:
        """Return the data's archives in the order in which the game reads them: a later one wins."""
        return sorted((self.folder / GAME).glob("*.pk3"), key=lambda path: path.name.lower())

    def names(self) -> frozenset[str]:
        """Return the names of all files in the archives."""
        return _names(tuple((path, path.stat().st_mtime_ns) for path in self.archives()))

    def maps(self) -> frozenset[str]:
        """Return the maps that bots can walk."""
        names = self.names()
        return frozenset(
            name.removeprefix("maps/").removesuffix(".aas")
            for name in names
            if name.startswith("maps/") and name.endswith(".aas") and name.replace(".aas", ".bsp") in names
        )


def find(settings: Settings, context: Context) -> Installation:
    """Return the installed game.

    :raises UserError: it is not installed, or lacks a map that the settings name.
    """
    installation = locate(settings, context)
    try:
        there = installation.maps()
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{installation.folder / GAME}: the game's data cannot be read ({error}); install it anew"
        ) from error
    for name in settings.maps:
        if name not in there:
            raise UserError(
                f"OpenArena has no map {name!r} that bots can walk; there are: {', '.join(sorted(there)) or 'none'}"
            )
    return installation


def locate(settings: Place, context: Context) -> Installation:
    """Return the installed game.

    :raises UserError: it is not installed.
    """
    folder = _folder(settings, context)
    return Installation(_engine(settings, context, folder), folder)


def _folder(settings: Place, context: Context) -> Path:
    if settings.folder is not None:
        given = context.path(settings.folder)
        if not any((given / GAME).glob("*.pk3")):
            raise UserError(f"{given}: there is no OpenArena here: no {GAME}/*.pk3")
        return given.resolve()
    for folder in map(Path, FOLDERS):
        if any((folder / GAME).glob("*.pk3")):
            return folder
    how = "on Debian, apt install openarena" if sys.platform == "linux" else "from openarena.ws"
    raise UserError(f"OpenArena is not installed ({how}), or lies elsewhere: set `folder` to what holds {GAME}")


def _engine(settings: Place, context: Context, folder: Path) -> Path:
    if settings.engine is not None:
        given = context.path(settings.engine)
        if not given.is_file():
            raise UserError(f"{given}: the game's program (`engine`) is not there")
        return given.resolve()
    for path in _programs(folder):
        if path.is_file():
            return path
    raise UserError(
        f"OpenArena's data is in {folder}, but no program to play it (ioquake3, on Debian: apt install openarena); "
        "set `engine` to it"
    )


def _programs(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in PROGRAMS)
    yield from map(Path, ENGINES)
    yield from (Path(found) for name in PROGRAMS if (found := shutil.which(name)) and _is_binary(Path(found)))


def _is_binary(path: Path) -> bool:
    """Tell a program from a distribution's script that starts one, which sets what we set otherwise."""
    with path.open("rb") as file:
        return file.read(2) != b"#!"


@functools.lru_cache(maxsize=4)
def _names(archives: tuple[tuple[Path, int], ...]) -> frozenset[str]:
    """Return the names in archives, given with the time when each was changed."""
    found: set[str] = set()
    for path, _ in archives:
        with zipfile.ZipFile(path) as archive:
            found.update(archive.namelist())
    return frozenset(found)
