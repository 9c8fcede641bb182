"""Scenarios of Doom: those of ViZDoom, the levels of LevDoom, and files of one's own."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from agent.context import Context
from core.command import COMMAND
from core.errors import UserError

MULTIPLAYER = ("cig", "multi", "multi_duel")
"""Scenarios that wait for other players."""

PLAYERS = "players"
"""The scenario that is made here: a room with bots, which play as players do (see `plugins.doom.room`)."""

LEVDOOM = "levdoom"
"""The package, its extra, and how the names of its levels begin."""
LEVDOOM_SCENARIOS = ("defend_the_center", "seek_and_slay")
"""Those in which there is something to shoot, and something to shoot with."""


@dataclass(frozen=True)
class Scenario:
    """What is played.

    :param config: a .cfg of ViZDoom.
    :param map: a .wad in place of the one that it names.
    :param bots: whether it is a room of one's own that bots play in, and `config` says nothing of it.
    """

    name: str
    config: Path
    map: Path | None = None
    bots: bool = False


def find(name: str, context: Context) -> Scenario:
    """Return the scenario of a name or path.

    :raises UserError: there is none (the message lists those that there are), or its package is not installed.
    """
    home = _package("vizdoom")
    if home is None:
        raise UserError(
            "Doom is played by the package vizdoom, which is not installed: it has wheels for Linux, Windows, and Macs "
            "with Apple's processors from macOS 14 on"
        )
    if name.endswith(".cfg"):
        path = context.path(name)
        if not path.is_file():
            raise UserError(f"{path}: there is no such scenario file")
        return Scenario(path.stem, path)
    if name.startswith(f"{LEVDOOM}/"):
        return _level(name)
    if name == PLAYERS:
        return Scenario(name, home / "scenarios" / "basic.cfg", bots=True)
    folder = home / "scenarios"
    path = folder / f"{name}.cfg"
    if not path.is_file() or name in MULTIPLAYER:
        there = sorted(p.stem for p in folder.glob("*.cfg") if p.stem not in MULTIPLAYER)
        raise UserError(
            f'there is no Doom scenario "{name}"; ViZDoom has: {", ".join(there)}; and the levels of the package '
            f"LevDoom are called {LEVDOOM}/default and so on"
        )
    return Scenario(name, path)


def _level(name: str) -> Scenario:
    """Return a level of LevDoom: `levdoom/LEVEL` of defend_the_center, `levdoom/SCENARIO/LEVEL` of another."""
    folder = _package(LEVDOOM)
    if folder is None:
        extra = COMMAND.replace("uv run", f"uv run --extra {LEVDOOM}")
        raise UserError(
            f'the scenario "{name}" is a level of the package LevDoom, which is not installed: start with '
            f"`{extra} ...` (without uv: `pip install LevDoom`)"
        )
    parts = name.split("/")[1:]
    scenario, level = (LEVDOOM_SCENARIOS[0], parts[0]) if len(parts) == 1 else (parts[0], "/".join(parts[1:]))
    if scenario not in LEVDOOM_SCENARIOS:
        raise UserError(
            f'"{name}": of LevDoom\'s scenarios {" and ".join(LEVDOOM_SCENARIOS)} are there; the other ones have '
            "nothing to shoot"
        )
    maps = folder / "envs" / scenario / "maps"
    level_map = maps / f"{level}.wad"
    if level_map.parent != maps or not level_map.is_file():
        raise UserError(f'"{name}": LevDoom\'s levels of {scenario} are: {", ".join(_levels(maps))}')
    return Scenario(name, folder / "envs" / scenario / "conf.cfg", level_map)


def _levels(maps: Path) -> list[str]:
    return sorted(path.stem for path in maps.glob("*.wad"))


def _package(name: str) -> Path | None:
    """Return an installed package's folder, without importing it: LevDoom's import needs gymnasium and scipy."""
    spec = importlib.util.find_spec(name)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent
