"""Skins that tell the truth: each model's head and body in a colour of its own, made from the installed game's data.

A skin names a shader for each surface of a model. Here each surface gets one of two flat ones, which no light changes:
a picture then tells to the pixel whose head or body is seen where. Red is the model's number; a body is blue besides,
a head green.
"""

from __future__ import annotations

import functools
import re
import struct
import zipfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from plugins.openarena import shaders
from plugins.openarena.installation import Installation
from plugins.openarena.settings import BOTS, OWN_MODEL

ARCHIVE = "zz-reticle-truth.pk3"
"""Later in the alphabet than the game's own archives, so that it wins."""
HEAD, BODY = 0, 1
LEAST_DIFFERENCE, MOST_GREY = 160, 64
"""Of blue and green in a player's pixel, which are 255 and 0 unless something is before it that lets it through."""
ROUNDING = 2
"""By how much a number may be off that is reckoned back from such a pixel."""
FEWEST_BLENDED = 12
"""Pixels of a piece that must tell its number where all of it is behind something."""
BAND_PART, BAND_OF_PIECE = 1 / 4, 1 / 16
"""How large a band of light may be that is taken for another's: a part of that one's pixels, or of the piece's."""
THIN = 1 / 4
"""What is left of a band, at the most, when its border is taken away: light fades within a few pixels."""
FEWEST_PIXELS = 4
"""Fewer pixels of a colour are no part of a player: the game's own pictures hold a few by chance."""

MARK = (0, 0, 255)
"""The crosshair's colour, BGR, where a recorded game's truth is drawn: in the corner of what somebody alive sees."""
CROSSHAIR = "gfx/2d/crosshairb"
"""What `cg_drawCrosshair 1` draws."""
ICONS = "scripts/iconsprites.shader"
"""Where the game defines what lies flat on the picture. It is not said which of two definitions wins, so that the file
is replaced whole."""

Drawn = Literal["game", "status bar", "bare"]
"""For what the colours are: a game that is played; or a recorded game's truth, whole where things glow and with the
living marked, beside pictures with a status bar or without one, where nothing lies flat on it but the mark."""

_OVERLAY = re.compile(r"(icons|gfx/2d)/.+|white")
"""The shaders of letters, tables and icons."""
_GLOW = re.compile(r"models/(weapons2?/.+_flash(_\d)?|misc/telep)\.md3")
"""Models that are a glow and nothing else: of a shot at its muzzle, and of who has just appeared. They hide nobody from
whoever looks, and would change the colours of what they are drawn over."""
_FACE = re.compile(r"models/players/.+/icon_\w+\.tga")
_SKIN = re.compile(r"models/players/(.+)/(head|upper|lower)_(\w+)\.skin")


@dataclass(frozen=True)
class Colours:
    """The numbers of the models, by `model/skin`, and which bots are looked for."""

    numbers: dict[str, int]
    bots: frozenset[str] = frozenset(BOTS)

    @functools.cached_property
    def targets(self) -> NDArray[np.bool_]:
        """Which numbers are bots' whose head is known: bool (256,)."""
        known = np.zeros(256, bool)
        for model in (BOTS[bot] for bot in self.bots):
            name = model if "/" in model else f"{model}/default"
            if name in self.numbers:
                known[self.numbers[name]] = True
        return known

    @functools.cached_property
    def _nearest(self) -> NDArray[np.int64]:
        """For each number the nearest one that is looked for, where it is near enough to be that: int64 (256,)."""
        numbers = np.arange(256)
        targets = np.flatnonzero(self.targets)
        if not len(targets):
            return numbers
        nearest = targets[np.abs(numbers[:, None] - targets).argmin(axis=1)]
        return np.where(np.abs(nearest - numbers) <= ROUNDING, nearest, numbers)

    def only(self, bots: Collection[str]) -> Colours:
        """Return the colours of these bots alone: a light or a spark may turn one number into another."""
        return Colours(self.numbers, frozenset(bots))

    def seen(self, pixels: NDArray[np.uint8], plain: NDArray[np.uint8] | None = None) -> Seen:
        """Return who is seen in a picture.

        :param pixels: uint8 (height, width, 3 or 4), BGR or BGRA.
        :param plain: the same moment with the game's own skins. With it players are seen too that are wholly behind
            something that lets them through; without it their pale colours could be those of a lamp.
        """
        blue, green = (cv2.extractChannel(pixels, channel) for channel in (0, 1))
        where = np.flatnonzero(cv2.absdiff(blue, green) > LEAST_DIFFERENCE)
        y, x = np.divmod(where, pixels.shape[1])
        b, g, r = (pixels[y, x, channel].astype(np.int64) for channel in (0, 1, 2))
        grey = np.minimum(b, g)
        ours = (grey <= MOST_GREY) & (r > grey)
        if plain is not None:
            before = plain[y, x, :2].astype(np.int64)
            ours &= np.abs(before[:, 0] - before[:, 1]) < LEAST_DIFFERENCE // 2
        y, x, b, g, r, grey = (values[ours] for values in (y, x, b, g, r, grey))
        strength = np.maximum(b, g) - grey
        number = np.minimum(np.rint(255 * (r - grey) / strength).astype(np.int64), 255)
        pure = strength == 255
        number = np.where(pure, number, self._nearest[number])
        known = self.targets[number] & pure
        if not known.all():
            known = self._completed(x, y, number, pure, known, plain is not None)
        return _boxes(x[known], y[known], number[known], (g > b)[known])

    def _completed(
        self,
        x: NDArray[np.intp],
        y: NDArray[np.intp],
        number: NDArray[np.int64],
        pure: NDArray[np.bool_],
        known: NDArray[np.bool_],
        blended: bool,
    ) -> NDArray[np.bool_]:
        """Tell which pixels are of a player, also behind smoke, glass and flashes, and correct their numbers in place.

        What lies before a player takes away from its colour or adds to it: such a pixel is of the player of the piece
        that it is in, if that has a number that is looked for.
        """
        rows, columns, mask = _cropped(x, y)
        mask[rows, columns] = 1
        count, labels = cv2.connectedComponents(mask, connectivity=8)
        piece = labels[rows, columns]
        about = known | (~pure & self.targets[number]) if blended else known.copy()
        known = np.zeros(len(x), bool)
        order = np.argsort(piece, kind="stable")
        for of_it in np.split(order, np.searchsorted(piece[order], np.arange(2, count))):
            there = of_it[about[of_it]]
            if pure[there].any() or len(there) >= FEWEST_BLENDED:
                sure = number[there[pure[there]]]
                whose = np.bincount(sure if len(sure) else number[there]).argmax()
                astray = ~pure[of_it] & ~np.isin(number[of_it], sure)  # reckoned back to another's number
                number[of_it[astray]] = whose
                foreign = ~about[of_it] & (number[of_it] < whose) & pure[of_it]  # light only adds
                number[of_it[~about[of_it]]] = whose
                known[of_it[~foreign]] = True
                lit = ~about[of_it] & ~foreign
                if lit.any():
                    _correct(x, y, number, of_it, lit, int(whose))
        return known


def _correct(
    x: NDArray[np.intp],
    y: NDArray[np.intp],
    number: NDArray[np.int64],
    piece: NDArray[np.intp],
    lit: NDArray[np.bool_],
    whose: int,
) -> None:
    """Give back to a piece's player, in place, what light made another's of it.

    Light adds to a number, so that where it fades there is a band of every number above the player's. Such bands are
    small and thin, and beside pixels whose number is nobody's.

    :param piece: the rows of the piece.
    :param lit: which of them are lit so that they are nobody's.
    """
    rows, columns, light = _cropped(x[piece], y[piece])
    light[rows[lit], columns[lit]] = 1
    around = np.ones((3, 3), np.uint8)
    beside = cv2.dilate(light, around)[rows, columns] > 0
    for other in np.unique(number[piece[number[piece] > whose]]).tolist():
        its = number[piece] == other
        mask = np.zeros_like(light)
        mask[rows[its], columns[its]] = 1
        _, labels, found, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
        which = labels[rows[its], columns[its]]
        area = found[:, cv2.CC_STAT_AREA]
        near = np.bincount(which, beside[its], len(found)) > 0
        within = cv2.erode(mask, around, borderValue=0)[rows[its], columns[its]]
        thin = np.bincount(which, within, len(found)) <= THIN * area
        most = max(BAND_PART * int((number == other).sum()), BAND_OF_PIECE * len(piece))
        number[piece[its]] = np.where((near & thin & (area <= most))[which], whose, other)


def _cropped(x: NDArray[np.intp], y: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint8]]:
    """Return the rows and columns of pixels in the smallest picture that holds them, and that picture, empty."""
    rows, columns = y - y.min(), x - x.min()
    return rows, columns, np.zeros((int(rows.max()) + 1, int(columns.max()) + 1), np.uint8)


@dataclass(frozen=True)
class Seen:
    """The players in a picture: parallel arrays, a row a head and a row a whole player.

    `xyxy` float32 (n, 4), pixels; `class_id` int32 (n,), HEAD or BODY; `pixels` int64 (n,), how many are seen.
    """

    xyxy: NDArray[np.float32]
    class_id: NDArray[np.int32]
    pixels: NDArray[np.int64]


def _boxes(x: NDArray[np.intp], y: NDArray[np.intp], number: NDArray[np.int64], head: NDArray[np.bool_]) -> Seen:
    rows = []
    for which in np.unique(number).tolist():
        of_it = number == which
        for kind, mask in ((HEAD, of_it & head), (BODY, of_it)):
            count = int(mask.sum())
            if count >= FEWEST_PIXELS:
                xs, ys = x[mask], y[mask]
                rows.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1, kind, count))
    table = np.array(rows, np.int64).reshape(-1, 6)
    return Seen(table[:, :4].astype(np.float32), table[:, 4].astype(np.int32), table[:, 5])


@functools.lru_cache(maxsize=2)
def colours(installation: Installation) -> Colours:
    """Return the numbers that `write` gives the models.

    :raises UserError: the game's data cannot be read.
    """
    models = sorted({f"{model}/{skin}" for model, _, skin in map(_parts, _skins(installation))})
    if len(models) > 255:
        raise UserError(f"{installation.folder}: {len(models)} skins are more than a picture can tell apart (255)")
    return Colours({model: number for number, model in enumerate(models, 1)})


def write(installation: Installation, path: Path, drawn: Drawn = "game") -> Path:
    """Write the archive with the coloured skins.

    :raises UserError: the game's data cannot be read.
    """
    numbers = colours(installation).numbers
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _skins(installation).items():
            model, part, skin = _parts(name)
            shader = f"reticle/{'head' if part == 'head' else 'body'}{numbers[f'{model}/{skin}']}"
            archive.writestr(name, _coloured(text, shader))
        if drawn != "game":
            for name in filter(_GLOW.fullmatch, sorted(installation.names())):
                archive.writestr(name, _nothing())
            archive.writestr(ICONS, _icons(installation, drawn))
        flat = [_shader(part, number) for number in numbers.values() for part in ("head", "body")]
        archive.writestr("scripts/reticle.shader", "".join(flat))
    return path


def write_faces(installation: Installation, path: Path) -> Path:
    """Write an archive with which the face in the status bar is always one's own, also where a bot is followed.

    A bot's would be a head that nobody is to find, in a place where no player of the game sees one. Where the
    data lack one's own, the faces stay.

    :raises UserError: the game's data cannot be read.
    """
    own = _last(installation, f"models/players/{OWN_MODEL}/icon_default.tga")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in filter(_FACE.fullmatch, sorted(installation.names()) if own else ()):
            archive.writestr(name, own)
    return path


def _icons(installation: Installation, drawn: Drawn) -> str:
    """Return the game's script of icons with the crosshair as the mark, and with nothing else that is drawn if bare."""
    text = _last(installation, ICONS).decode("latin-1")
    names = {name for name, _, _ in shaders.blocks(text)} | {name.rpartition(".")[0] for name in installation.names()}
    unseen = {name for name in map(str.lower, names) if _OVERLAY.fullmatch(name)} if drawn == "bare" else set()
    unseen.discard(CROSSHAIR)
    rest = shaders.without(text, {CROSSHAIR, *unseen})
    return "\n".join((rest, shaders.flat(CROSSHAIR, "1 0 0"), *map(shaders.unseen, sorted(unseen))))


def _skins(installation: Installation) -> dict[str, str]:
    found = _read(installation, lambda name: _SKIN.fullmatch(name) is not None)
    return {name: data.decode("latin-1") for name, data in found.items()}


def _last(installation: Installation, name: str) -> bytes:
    """Return a file of the game's data, however it is spelt, as the last archive has it; empty where none has."""
    return next(reversed(_read(installation, lambda found: found.lower() == name).values()), b"")


def _read(installation: Installation, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return files of the game's data by their names, each as its last archive has it, in the order of those.

    :raises UserError: the game's data cannot be read.
    """
    found: dict[str, bytes] = {}
    try:
        for path in installation.archives():
            with zipfile.ZipFile(path) as archive:
                for name in filter(wanted, archive.namelist()):
                    found.pop(name, None)
                    found[name] = archive.read(name)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(f"{installation.folder}: the game's data cannot be read ({error})") from error
    return found


def _nothing() -> bytes:
    """Return a model of one frame without a surface, in the format MD3 (version 15)."""
    head, frame = struct.calcsize("<4si64s9i"), struct.calcsize("<10f16s")
    end = head + frame
    counts = (0, 1, 0, 0, 0)  # flags, frames, tags, surfaces, skins
    return struct.pack("<4si64s9i", b"IDP3", 15, b"nothing", *counts, head, end, end, end) + bytes(frame)


def _parts(name: str) -> tuple[str, str, str]:
    match = _SKIN.fullmatch(name)
    assert match is not None
    return match[1], match[2], match[3]


def _coloured(text: str, shader: str) -> str:
    """Return a skin's text with another shader on each surface; tags, where other parts are joined on, stay."""
    lines = []
    for line in text.splitlines():
        surface, comma, _ = (part.strip() for part in line.partition(","))
        if comma and surface:
            lines.append(f"{surface}," if surface.lower().startswith("tag_") else f"{surface},{shader}")
    return "\n".join(lines) + "\n"


def alive(pixels: NDArray[np.uint8]) -> bool:
    """Tell whether a picture of the truth, uint8 (height, width, 3) BGR, is what somebody alive sees."""
    height, width = pixels.shape[:2]
    return bool((pixels[height // 120, width // 160] == MARK).all())


def _shader(part: str, number: int) -> str:
    return shaders.flat(f"reticle/{part}{number}", f"{level(number):.6f} {'1 0' if part == 'head' else '0 1'}")


def level(number: int) -> float:
    """Return the constant, 0 to 1, that is drawn as this number, 0 to 255.

    The game multiplies by 255 and cuts off: a constant that is 34 / 255 to six digits is drawn as 33. Others round.
    """
    return min(1.0, (number + 0.25) / 255)
