"""What an episode of Doom is scored by, from the game's variables and labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.types import Episode, Measure
from plugins.doom.game import LITTLE_AMMO, SUPPLIES, TARGET_CATEGORIES, TIC_RATE, Settings, supply

MEASURES = (
    Measure("kills", "Targets killed."),
    Measure("shots", "Shots fired.", in_arena=False),
    Measure("tics", "The episode's length in Doom's steps of 1/35 s.", in_arena=False),
    Measure("hits", "Shots that hit a target.", in_run=False, in_arena=False),
    Measure("hits_per_shot", "Hits a shot.", in_run=False),
    Measure("first_hit_tic", "The step of the first hit.", in_run=False, in_arena=False, lower_is_better=True),
    Measure("first_hit_ms", "When the first hit was, milliseconds.", in_run=False, lower_is_better=True),
)
"""What an episode is scored by."""
ENDLESS_MEASURES = (
    Measure("kills_per_minute", "Targets killed a minute."),
    Measure("hits_per_shot", "Hits a shot."),
    Measure(
        "time_to_kill_ms",
        "How long those had been in view that were killed, milliseconds, mean.",
        in_run=False,
        lower_is_better=True,
    ),
    Measure("kills", "Targets killed.", in_run=False, in_arena=False),
    Measure("shots", "Shots fired.", in_run=False, in_arena=False),
    Measure("hits", "Shots that hit a target.", in_run=False, in_arena=False),
    Measure("tics", "The episode's length in Doom's steps of 1/35 s.", in_run=False, in_arena=False),
)
"""What one is scored by that goes on for a fixed time."""


def revive(game: Any, settings: Settings, score: Score) -> None:
    """Bring the player back to life, which lets time pass, and may be the episode's last."""
    game.respawn_player()
    if not game.is_episode_finished():
        supply(game, settings)
        score.revived()


class Score:
    """Keeps an episode's counts up to date.

    :param endless: whether ammunition is given anew before it runs out, and time counts.
    :param bots: whether those killed are players, which the game counts apart.
    """

    def __init__(self, game: Any, endless: bool = False, bots: bool = False) -> None:
        import vizdoom

        self._game = game
        self._variable = vizdoom.GameVariable
        self._endless = endless
        self._kill_count = self._variable.FRAGCOUNT if bots else self._variable.KILLCOUNT
        self._ammo = self._weapon = 0.0
        self.begin()

    def begin(self) -> None:
        """Begin an episode, with the weapon and the ammunition that there are."""
        self._weapon, self._ammo = self._held()
        self._shots = self._tics = self._hits = self._hits_before = self._kills = 0
        self._first_hit_tic: int | None = None
        self._in_view: dict[int, float] = {}
        self._since: dict[int, int] = {}
        self._waits: list[int] = []

    def update(self, episode: Episode, state: Any) -> None:
        """Count what happened since the last call.

        :param state: what the game shows now, where the episode is endless; None at its end, and else.
        """
        weapon, ammo = self._held()
        if weapon == self._weapon and ammo < self._ammo:
            self._shots += int(self._ammo - ammo)
        self._weapon, self._ammo = weapon, ammo
        # Time and hits are back at 0 once an episode is won.
        self._tics = max(self._tics, int(self._game.get_episode_time()))
        self._hits = max(self._hits, self._hits_before + self._counted_hits())
        if self._hits and self._first_hit_tic is None:
            self._first_hit_tic = self._tics
        kills = int(self._game.get_game_variable(self._kill_count))
        if self._endless:
            self._watch(state, kills - self._kills)
            if ammo <= LITTLE_AMMO:
                self._game.send_game_command(SUPPLIES[-1])
        self._kills = kills
        episode.scores = self._scores()

    def revived(self) -> None:
        """Go on after the player's death: ammunition lost by it was not fired, and the game counts hits from 0."""
        self._weapon, self._ammo = self._held()
        self._hits_before = self._hits - self._counted_hits()

    def _counted_hits(self) -> int:
        return int(self._game.get_game_variable(self._variable.HITCOUNT))

    def _watch(self, state: Any, killed: int) -> None:
        """Note since when each target has been in view, and how long those took that were killed just now.

        The game does not say who they were: a target that was there and is none now, the nearest to the crosshair.
        """
        if state is None:
            return
        middle = state.screen_buffer.shape[1] / 2
        now = {
            label.object_id: abs(label.x + label.width / 2 - middle)
            for label in state.labels
            if label.object_category in TARGET_CATEGORIES
        }
        gone = sorted((off, which) for which, off in self._in_view.items() if which not in now)
        for _, which in gone[: max(0, killed)]:
            self._waits.append(self._tics - self._since[which])
        self._since = {which: self._since.get(which, self._tics) for which in now}
        self._in_view = now

    def _scores(self) -> dict[str, float | None]:
        first = self._first_hit_tic
        counts: dict[str, float | None] = {
            "kills": self._kills,
            "shots": self._shots,
            "tics": self._tics,
            "hits": self._hits,
            "hits_per_shot": min(1.0, self._hits / self._shots) if self._shots else None,
        }
        if self._endless:
            minutes = self._tics / TIC_RATE / 60
            waits = self._waits
            return counts | {
                "kills_per_minute": self._kills / minutes if minutes else None,
                "time_to_kill_ms": round(float(np.mean(waits)) / TIC_RATE * 1e3, 1) if waits else None,
            }
        return counts | {
            "first_hit_tic": first,
            "first_hit_ms": None if first is None else round(first / TIC_RATE * 1e3, 1),
        }

    def _held(self) -> tuple[float, float]:
        get, variable = self._game.get_game_variable, self._variable
        return get(variable.SELECTED_WEAPON), get(variable.SELECTED_WEAPON_AMMO)
