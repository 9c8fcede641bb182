"""WADs: reading the palette, sprites, walls and floors of one, and writing one of a few lumps.

Its forms are those of the Unofficial Doom Specs, 1.666 (Fell, 1994), chapters 2 and 5.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

FLAT_SIDE = 64
"""Of a floor's picture, which has no header."""
LAST_POST = 255


class Wad:
    """The lumps of a WAD by name; of several with a name the last counts, as in the game.

    :raises UserError: it cannot be read, or is none.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._data = path.read_bytes()
            kind, count, start = struct.unpack_from("<4sii", self._data)
            if kind not in (b"IWAD", b"PWAD"):
                raise UserError(f"{path}: this is no WAD")
            entries = [struct.unpack_from("<ii8s", self._data, start + 16 * i) for i in range(count)]
        except OSError as error:
            raise UserError(f"{path}: the WAD cannot be read ({error.strerror})") from error
        except struct.error as error:
            raise UserError(f"{path}: the WAD ends early") from error
        self._path = path
        self._lumps = {name.rstrip(b"\0").decode("latin-1"): (place, size) for place, size, name in entries}
        self._palette = np.frombuffer(self._lump("PLAYPAL")[:768], np.uint8).reshape(256, 3)[:, ::-1]

    def picture(self, name: str) -> NDArray[np.uint8]:
        """Return a sprite or a wall's patch: uint8 (height, width, 4) BGRA, nothing where it has no pixel.

        :raises UserError: there is none.
        """
        lump = self._lump(name)
        width, height = struct.unpack_from("<HH", lump)
        columns = struct.unpack_from(f"<{width}i", lump, 8)
        found = np.zeros((height, width, 4), np.uint8)
        for x, place in enumerate(columns):
            while lump[place] != LAST_POST:
                top, length = lump[place], lump[place + 1]
                post = np.frombuffer(lump, np.uint8, length, place + 3)
                found[top : top + length, x, :3] = self._palette[post]
                found[top : top + length, x, 3] = 255
                place += length + 4
        return found

    def flat(self, name: str) -> NDArray[np.uint8]:
        """Return a floor's or ceiling's picture: uint8 (64, 64, 3) BGR.

        :raises UserError: there is none.
        """
        pixels = np.frombuffer(self._lump(name), np.uint8, FLAT_SIDE**2).reshape(FLAT_SIDE, FLAT_SIDE)
        return self._palette[pixels]

    def _lump(self, name: str) -> bytes:
        if name not in self._lumps:
            raise UserError(f"{self._path}: it holds nothing that is called {name}")
        place, size = self._lumps[name]
        return self._data[place : place + size]


def write(path: Path, lumps: Mapping[str, bytes]) -> None:
    """Write lumps, in their order, as a PWAD: a header, the lumps, and the directory of where they are.

    :param lumps: contents by name, of at most eight letters.
    """
    header = struct.calcsize("<4sii")
    directory, place = b"", header
    for name, body in lumps.items():
        directory += struct.pack("<ii8s", place, len(body), name.encode("ascii"))
        place += len(body)
    path.write_bytes(struct.pack("<4sii", b"PWAD", len(lumps), place) + b"".join(lumps.values()) + directory)
