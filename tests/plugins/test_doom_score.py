"""What is counted when a player dies in an episode: hits begin at 0 again, and ammunition is another's."""

from typing import Any

import pytest

from agent.types import Episode

vizdoom = pytest.importorskip("vizdoom", reason="ViZDoom is not installed")


class Game:
    """Says what it is told of the game's variables."""

    def __init__(self) -> None:
        self.time = 0
        self.values: dict[Any, float] = {}
        self.commands: list[str] = []

    def get_game_variable(self, variable: Any) -> float:
        return self.values.get(variable, 0.0)

    def get_episode_time(self) -> int:
        return self.time

    def send_game_command(self, command: str) -> None:
        self.commands.append(command)

    def respawn_player(self) -> None:
        self.time += 1
        self.values |= {vizdoom.GameVariable.HITCOUNT: 0, vizdoom.GameVariable.SELECTED_WEAPON_AMMO: 50}

    def is_episode_finished(self) -> bool:
        return False


def test_a_death_is_no_shot_and_costs_no_hit() -> None:
    from plugins.doom.game import SUPPLIES, Settings
    from plugins.doom.score import Score, revive

    variable = vizdoom.GameVariable
    game = Game()
    game.values |= {variable.SELECTED_WEAPON: 2, variable.SELECTED_WEAPON_AMMO: 200}
    score = Score(game, endless=True, bots=True)
    episode = Episode("players", 1)

    def shoot(hits: int) -> dict[str, Any]:
        game.time += 10
        game.values[variable.SELECTED_WEAPON_AMMO] -= 1
        game.values[variable.HITCOUNT] = game.values.get(variable.HITCOUNT, 0) + hits
        score.update(episode, None)
        return episode.scores

    shoot(1)
    assert (shoot(0)["shots"], episode.scores["hits"]) == (2, 1)
    revive(game, Settings(scenario="players", endless=True), score)
    assert tuple(game.commands) == SUPPLIES
    score.update(episode, None)
    assert (episode.scores["shots"], episode.scores["hits"]) == (2, 1)
    assert (shoot(1)["shots"], episode.scores["hits"]) == (3, 2)
    assert episode.scores["hits_per_shot"] == pytest.approx(2 / 3)
