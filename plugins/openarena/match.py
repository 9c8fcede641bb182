"""A match: a map, the bots on it, and its score."""

from __future__ import annotations

from collections.abc import Mapping

from plugins.openarena.game_log import GameLog, Player, Tally
from plugins.openarena.process import Process
from plugins.openarena.settings import PLAYER

START_S = 60.0


class Match:
    """Begins a map with its bots, and keeps the score by the game's log.

    :param bots: their names, and their skill from 1 to 5.
    :raises UserError: the game ends, or does not begin it.
    """

    def __init__(self, game: Process, log: GameLog, name: str, bots: Mapping[str, int]) -> None:
        self._log = log
        self.tally = Tally()
        log.lines()  # of the match before
        game.say(f"devmap {name}", *(f"addbot {bot} {skill}" for bot, skill in bots.items()))
        game.wait(lambda: self._there(len(bots) + 1), START_S, f"begin the map {name}")

    def update(self) -> None:
        """Take in what happened since the last call.

        :raises UserError: the log is gone.
        """
        self.tally.take(self._log.lines())

    def own(self) -> Player:
        """Return how whoever plays does."""
        return self.tally.named(PLAYER) or Player()

    def others(self) -> list[Player]:
        """Return how the bots do."""
        return [player for player in self.tally.present() if player.name != PLAYER]

    def _there(self, players: int) -> bool:
        self.update()
        return len(self.tally.present()) >= players and self.tally.named(PLAYER) is not None
