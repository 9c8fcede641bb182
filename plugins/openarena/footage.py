"""Frames of a recorded game and their truth: the same demo drawn twice, with the players' own skins and with ours."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from plugins.openarena import skins
from plugins.openarena.game_log import GameLog
from plugins.openarena.installation import Installation
from plugins.openarena.match import Match
from plugins.openarena.process import running
from plugins.openarena.settings import Settings, configuration

DEMO = "reticle"
STEP_MS = 40
"""What the game goes on by from one step of its own to the next while it is recorded, unseen and as fast as it can."""
WAIT_MS = STEP_MS / 2
"""What `wait 1` in a script takes: the game runs its commands twice a step."""
RECORD_LIMIT_S, DRAW_LIMIT_S = 240.0, 300.0
HEADER = 4096
PLAIN: dict[str, float | str] = {
    "cg_railTrailTime": 0, "com_blood": 0, "cg_gibs": 0, "cg_marks": 0, "r_flares": 0, "cg_noProjectileTrail": 1,
    "cg_brassTime": 0, "cg_leiEnhancement": 0,
}  # fmt: skip
"""No sparks and no blood before the players: what shines through them would change their colours."""
MARKED: dict[str, float | str] = {
    "cg_draw2D": 1, "cg_drawCrosshair": 1, "cg_crosshairHealth": 0, "cg_crosshairSize": 8, "cg_crosshairX": -316,
    "cg_crosshairY": -236,
}  # fmt: skip
"""The crosshair, `skins.MARK`, in the corner at the top left: the game draws it for the living alone."""
BARE: dict[str, float | str] = {
    "cg_drawStatus": 0, "cg_drawAttacker": 0, "cg_drawRewards": 0, "cg_drawTimer": 0, "cg_lagometer": 0,
    "cg_drawAmmoWarning": 0,
}  # fmt: skip
"""And no status bar where the pictures have none; what is drawn all the same, the archive makes invisible."""


def record(
    installation: Installation, settings: Settings, name: str, bots: Mapping[str, int], script: Sequence[str], to: Path
) -> Path:
    """Play a map by a script without drawing, and return the demo that was recorded.

    :param bots: names and skills.
    :param script: console commands; `wait N` lets N times WAIT_MS pass.
    :raises UserError: the game fails at it.
    """
    with running(installation, configuration(settings, com_maxfps=1000)) as game:
        Match(game, GameLog(game.log), name, bots)
        game.say(
            "set r_norefresh 1", f"set fixedtime {STEP_MS}", "wait 25", f"record {DEMO}", *script,
            "stoprecord", "quit",
        )  # fmt: skip
        game.end_of_it(RECORD_LIMIT_S)
        made = next((game.folder / "demos").glob(f"{DEMO}.dm_*"), None)
        if made is None:
            raise game.ended()
        return made.rename(to / made.name)


@contextlib.contextmanager
def drawn(
    installation: Installation, settings: Settings, demo: Path, rate: int, archive: Path, truth: bool
) -> Iterator[Path]:
    """Draw a demo at a fixed rate, and yield the video's file, which then goes.

    :param rate: frames a second of the game's time.
    :param archive: what it is drawn with over the game's own data.
    :param truth: whether that is the coloured skins.
    :raises UserError: the game fails at it.
    """
    more = {**PLAIN, **MARKED, **({} if settings.hud else BARE)} if truth else {}
    text = configuration(settings, cl_aviFrameRate=rate, cl_aviMotionJpeg=0, nextdemo="quit", com_maxfps=1000, **more)
    with running(installation, text, files={skins.ARCHIVE: archive}) as game:
        (game.folder / "demos").mkdir()
        (game.folder / "demos" / demo.name).symlink_to(demo)
        # A fixed step from the demo's begin on, so that both videos begin with the same moment.
        game.say(f"set fixedtime {STEP_MS}; demo {DEMO}; wait 5; video {DEMO}")
        game.end_of_it(DRAW_LIMIT_S)
        made = game.folder / "videos" / f"{DEMO}.avi"
        if not made.exists():
            raise game.ended()
        yield made


def pictures(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of an uncompressed AVI as the game writes it: uint8 (height, width, 3) BGR.

    :raises UserError: it is no such file.
    """
    with path.open("rb") as file:
        head = file.read(HEADER)
        start, form = head.find(b"movi"), head.find(b"strf")
        if start < 0 or form < 0:
            raise UserError(f"{path}: no uncompressed AVI")
        width, height = struct.unpack_from("<ii", head, form + 12)
        row = (3 * width + 3) // 4 * 4
        file.seek(start + 4)
        while len(chunk := file.read(8)) == 8 and chunk[:4] == b"00dc":
            (size,) = struct.unpack("<I", chunk[4:])
            data = file.read(size + size % 2)
            if len(data) < row * height:
                return
            bottom_up = np.frombuffer(data, np.uint8, row * height).reshape(height, row)
            yield bottom_up[::-1, : 3 * width].reshape(height, width, 3)
