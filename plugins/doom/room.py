"""A room with bots: one large sector, made here as a map of text (UDMF), in which they cannot help but meet.

On ViZDoom's maps for many players one that does not walk sees a bot in every third frame at best, 27 pixels high.
"""

from __future__ import annotations

import math
from pathlib import Path

from plugins.doom.wad import write as write_wad

SIZE, HEIGHT = 1024, 256
"""Of the room, in the map's units: a player is 56 high."""
STARTS = 24
"""Where players appear, on a circle: three for each, so that hardly anyone appears in another, which kills that one."""
STARTS_RADIUS = 400
WALL, FLOOR, CEILING = "STARTAN2", "FLOOR4_8", "CEIL3_5"
"""Textures that Freedoom has, as Doom does."""
FIRST_PLAYER, DEATHMATCH_START = 1, 11
"""The kinds of thing that a map says where players appear with."""
NAME = "MAP01"


def write(path: Path) -> None:
    """Write the room as a PWAD."""
    write_wad(path, {NAME: b"", "TEXTMAP": _text().encode("ascii"), "ENDMAP": b""})


def _text() -> str:
    half = SIZE // 2
    corners = ((-half, -half), (-half, half), (half, half), (half, -half))
    blocks = [_thing(0, 0, 90, FIRST_PLAYER)]
    for i in range(STARTS):
        angle = 2 * math.pi * i / STARTS
        x, y = STARTS_RADIUS * math.cos(angle), STARTS_RADIUS * math.sin(angle)
        blocks.append(_thing(round(x), round(y), round(math.degrees(angle) + 180) % 360, DEATHMATCH_START))
    blocks += [_block("vertex", x=x, y=y) for x, y in corners]
    blocks += [_block("linedef", v1=i, v2=(i + 1) % 4, sidefront=i, blocking=True) for i in range(4)]
    blocks += [_block("sidedef", sector=0, texturemiddle=WALL)] * 4
    blocks.append(
        _block(
            "sector", heightfloor=0, heightceiling=HEIGHT, texturefloor=FLOOR, textureceiling=CEILING, lightlevel=208
        )
    )
    return 'namespace = "zdoom";\n' + "".join(blocks)


def _thing(x: int, y: int, angle: int, kind: int) -> str:
    always = {f"skill{i}": True for i in range(1, 6)} | {"single": True, "coop": True, "dm": True}
    return _block("thing", x=x, y=y, angle=angle, type=kind, **always)


def _block(kind: str, **values: str | int | bool) -> str:
    lines = (f"{key} = {_value(value)};" for key, value in values.items())
    return f"{kind} {{ {' '.join(lines)} }}\n"


def _value(value: str | int | bool) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
