"""The game's own log, `games.log`: who plays, and who killed whom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from core.errors import UserError

WORLD = 1022
"""Whom the log names as killer where the map killed: a fall, lava."""

_LINE = re.compile(r"\s*\d+:\d\d (\w+): ?(.*)")
_KILL = re.compile(r"(\d+) (\d+) \d+:")
_NAMED = re.compile(r"(\d+) n\\([^\\]*)\\")


@dataclass
class Player:
    """Who plays as which number, and how it goes."""

    name: str = ""
    present: bool = False
    kills: int = 0
    deaths: int = 0
    suicides: int = 0


@dataclass
class Tally:
    """The players by their numbers, counted since the map was begun or `reset`."""

    players: dict[int, Player] = field(default_factory=dict)

    def take(self, lines: Iterable[str]) -> None:
        """Count what lines of the log say; what else they say is passed over."""
        for line in lines:
            match = _LINE.match(line)
            if match is not None:
                self._take(match[1], match[2])

    def named(self, name: str) -> Player | None:
        """Return the player of that name, if it plays."""
        return next((player for player in self.players.values() if player.present and player.name == name), None)

    def present(self) -> list[Player]:
        """Return all that play."""
        return [player for player in self.players.values() if player.present]

    def reset(self) -> None:
        """Count anew; who plays goes on playing."""
        for player in self.players.values():
            player.kills = player.deaths = player.suicides = 0

    def _take(self, event: str, rest: str) -> None:
        if event == "InitGame":
            self.players.clear()
        elif event == "ClientUserinfoChanged" and (named := _NAMED.match(rest)):
            self._player(named[1]).name = named[2]
        elif event == "ClientBegin" and rest.strip().isdecimal():
            self._player(rest).present = True
        elif event == "ClientDisconnect" and rest.strip().isdecimal():
            self.players.pop(int(rest), None)
        elif event == "Kill" and (kill := _KILL.match(rest)):
            killer, victim = int(kill[1]), self._player(kill[2])
            victim.deaths += 1
            if killer == int(kill[2]) or killer == WORLD:
                victim.suicides += 1
            else:
                self._player(kill[1]).kills += 1

    def _player(self, number: str) -> Player:
        return self.players.setdefault(int(number), Player())


class GameLog:
    """Reads the log while the game writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._rest = b""

    def lines(self) -> list[str]:
        """Return the whole lines that were written since the last call.

        :raises UserError: the log is gone, or was cut.
        """
        try:
            if not self._at and not self._path.exists():
                return []  # the game has not begun it
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._at:
                    raise UserError(f"{self._path}: the game's log was cut while it played, so the score is lost")
                file.seek(self._at)
                read = file.read()
        except OSError as error:
            raise UserError(f"{self._path}: the game's log cannot be read while it plays ({error.strerror})") from error
        self._at += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [line.decode("latin-1") for line in lines]
