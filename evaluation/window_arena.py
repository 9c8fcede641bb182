"""The arena for games in windows: in real time, one after the other, scored by what the game itself tells.

Nothing of the picture is known beside what the players see, so there is no recall, and nothing can be injected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.plan import Options
from agent.profile import LoadedProfile
from core.errors import UserError
from evaluation.arena import Player, Score, Trial, lower_is_better
from evaluation.window import opened, play_window, seen_by


def play_in_windows(
    loaded: LoadedProfile,
    plugins: tuple[Path, ...],
    players: Sequence[Player],
    seed: int,
    episodes: int,
    xvfb: bool,
    done: Callable[[], None],
) -> tuple[list[Trial], list[Score], dict[str, Any]]:
    """Play every player's episodes; return them, their scores, and a run's report a player.

    :param done: called after each episode.
    :raises UserError: a run breaks off.
    """
    trials: list[Trial] = []
    scores: list[Score] = []
    reports: dict[str, Any] = {}
    for player in players:
        who = player.who
        played = seen_by(loaded, who)
        if who == "agent":
            played = played.with_roles(detector=played.with_settings("detector", **dict(player.settings)))
        with opened(played, plugins, xvfb, True, seed, episodes) as (window, ready):
            result = play_window(played, window, Options(live=True, seed=seed), who, ready)
        if result.error is not None:
            raise result.error
        if len(result.episodes) < episodes:
            raise UserError(
                f"{loaded.path}: {len(result.episodes)} of {episodes} episodes were played ({result.ended})"
            )
        reports[player.name or who] = result.to_dict()
        shown = tuple(measure.name for measure in result.measures if measure.in_arena)
        for episode in result.episodes:
            trials.append(Trial(loaded.path, plugins, player, None, episode.seed))
            measures = {measure.name: episode.scores.get(measure.name) for measure in result.measures}
            detector = result.detector if who == "agent" else {}
            lower = lower_is_better(result.measures)
            scores.append(Score(who, episode.scenario, episode.seed, measures, shown, detector, lower))
            done()
    return trials, scores, reports
