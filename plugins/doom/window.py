"""Doom in a window, in real time, from the real mouse and keyboard: a game like any other that tells its truth.

Run by `agent.py game`, in a process of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict

from agent.context import Context
from agent.factories import Tell
from agent.types import Episode
from core.errors import UserError
from plugins.doom.game import Settings, started, truth
from plugins.doom.game import begin as begin_episode
from plugins.doom.scenarios import find
from plugins.doom.score import ENDLESS_MEASURES, MEASURES, Score, revive


def play(settings: Settings, context: Context, begin: Callable[[], None], tell: Tell) -> None:
    """Open the window, wait for `begin`, play `context.episodes` episodes, and tell each tic's truth and the scores.

    With bots an episode's seed does not make it the same again, and neither does real time.

    :raises UserError: there is no display, or the window was closed.
    """
    import vizdoom

    scenario = find(settings.scenario, context)
    windowed = settings.model_copy(update={"window": True})
    with started(windowed, scenario, "ASYNC_SPECTATOR", context.seed) as game:
        measures = ENDLESS_MEASURES if settings.endless else MEASURES
        tell({"ready": time.perf_counter_ns(), "measures": [asdict(measure) for measure in measures]})
        begin()
        score = Score(game, settings.endless, scenario.bots)
        try:
            for i in range(context.episodes or 1):
                episode = Episode(scenario.name, context.seed + i)
                game.set_seed(episode.seed)
                game.new_episode()
                begin_episode(game, settings, scenario)
                score.begin()
                while not game.is_episode_finished():
                    game.advance_action()  # the world goes on by itself; this waits for its next tic, and draws
                    if scenario.bots and game.is_player_dead():
                        revive(game, settings, score)
                    state = game.get_state()
                    score.update(episode, state)
                    if state is not None:
                        found = truth(state.labels, state.labels_buffer)
                        tell(
                            {
                                "at_ns": time.perf_counter_ns(),
                                "boxes": found.xyxy.tolist(),
                                "classes": found.class_id.tolist(),
                            }
                        )
                tell({"episode": asdict(episode)})
        except vizdoom.ViZDoomUnexpectedExitException as error:
            raise UserError("the game's window was closed") from error
