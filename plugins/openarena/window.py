"""OpenArena in its window, in real time, from the real mouse and keyboard; scored by its own log.

Run by `agent.py game`, in a process of its own. What the picture shows, it does not tell: it does not know.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from agent.context import Context
from agent.factories import Tell
from agent.types import Episode
from core.display import check_display
from plugins.openarena import skins
from plugins.openarena.game_log import GameLog, Player
from plugins.openarena.installation import Installation, find
from plugins.openarena.match import Match
from plugins.openarena.process import Process, running
from plugins.openarena.settings import BOTS, MEASURES, Settings, configuration

LOOK_S = 0.25
"""How often the log is read and the game looked after."""


def play(settings: Settings, context: Context, begin: Callable[[], None], tell: Tell) -> None:
    """Open the window, wait for `begin`, play `context.episodes` episodes, and tell the scores of each.

    :raises UserError: the game is not installed, there is no display, or the game ends in between.
    """
    installation = find(settings, context)
    check_display("OpenArena")
    with opened(settings, installation) as game:
        log = GameLog(game.log)
        for i in range(context.episodes or 1):
            seed = context.seed + i
            match = started(settings, game, log, seed)
            if i == 0:
                tell({"ready": time.perf_counter_ns(), "measures": [asdict(measure) for measure in MEASURES]})
                begin()
            tell({"episode": asdict(_episode(settings, game, match, seed))})


@contextlib.contextmanager
def opened(settings: Settings, installation: Installation) -> Iterator[Process]:
    """Start the game in its window, with the skins that the settings ask for."""
    with contextlib.ExitStack() as stack:
        files: dict[str, Path | str] = {}
        if settings.skins == "truth":
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reticle-openarena-skins-")))
            files[skins.ARCHIVE] = skins.write(installation, folder / skins.ARCHIVE)
        yield stack.enter_context(running(installation, configuration(settings), files=files))


def started(settings: Settings, game: Process, log: GameLog, seed: int) -> Match:
    """Begin an episode's match: its map and its bots are drawn by its seed."""
    drawn = np.random.default_rng([seed, 11]).permutation(list(BOTS))[: settings.bots]
    name = settings.maps[seed % len(settings.maps)]
    match = Match(game, log, name, {str(bot): settings.skill for bot in drawn})
    if settings.god:
        game.say("god")
    if settings.weapons == "all":
        game.say("give all")
    return match


def _episode(settings: Settings, game: Process, match: Match, seed: int) -> Episode:
    match.update()
    match.tally.reset()
    start = time.monotonic()
    while (left := start + settings.seconds - time.monotonic()) > 0:
        time.sleep(min(LOOK_S, left))
        game.check()
        match.update()
    return Episode(
        settings.maps[seed % len(settings.maps)], seed, scores(match.own(), match.others(), settings.seconds)
    )


def scores(own: Player, others: list[Player], seconds: float) -> dict[str, float | None]:
    """Return an episode's scores by what the log says of each player."""
    kills = [player.kills for player in others]
    return {
        "kills": own.kills,
        "deaths": own.deaths,
        "suicides": own.suicides,
        "kills_per_min": own.kills * 60 / seconds,
        "bot_kills_per_min": sum(kills) / len(kills) * 60 / seconds if kills else None,
        "rank": 1 + sum(count > own.kills for count in kills),
    }
