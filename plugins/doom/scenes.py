"""Scenes of Doom for a data set: many scenarios and maps, weapons, monsters and ways to move, with their truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.factories import Sample
from core.images import thumbnail
from plugins.doom.game import BOTS, HOST_ARGUMENTS, TARGET_CATEGORIES, Settings, free_port, running, visible
from plugins.doom.varied import GORE, write_monsters

SCENARIOS = ("defend_the_center", "deathmatch", "deadly_corridor", "basic", "predict_position", "take_cover")
MAPS = tuple(f"map{i:02d}" for i in range(1, 32))
VALIDATION_SCENARIOS = ("defend_the_line",)
VALIDATION_MAPS = ("map04", "map09", "map14", "map19", "map24", "map29")
"""Nothing of these is in the part that is trained on; the seeds of the two parts differ too."""

MONSTERS = (
    "Zombieman", "ShotgunGuy", "ChaingunGuy", "DoomImp", "Demon", "LostSoul", "Cacodemon", "HellKnight",
    "BaronOfHell", "Arachnotron", "PainElemental", "Revenant", "Fatso", "Archvile", "MarineChainsaw",
)  # fmt: skip
"""Classes that the game defines, all of which a scene on a map may summon, so that all are seen near and far."""
OWN_MONSTERS = {"defend_the_center": ("MarineChainsawVzd",), "deathmatch": ("MarineChainsawVzd",)}
"""Classes that scenarios define."""
SUMMONED = (*MONSTERS, "DoomPlayer")
"""A player is summoned too, who stands there."""

CROWD_SHARE = 0.3
"""How many of the scenes on maps summon CROWD monsters at a time: those in a crowd hide each other."""
CROWD = 3

SCENARIO_SHARE, BOTS_SHARE = 0.4, 0.2
"""How many scenes are of ViZDoom's scenarios, and of maps where bots play too; the rest are maps alone."""
VARIED_SHARE, GORE_SHARE = 0.45, 0.6
"""How many of those without bots have monsters of other sizes and looks, and how many what looks like monsters."""
GORE_PIECES, GORE_DISTANCE = 8, (80, 600)
"""How much of that is put about where one stands, each time one stands elsewhere, and how far off, in the map's units.
The console puts everything an arm's length ahead: what is far looks different, and is what an agent shoots at."""
SCENE_FRAMES = 20
"""Frames kept of one scene: a game starts in a fifth of a second, and few frames of many scenes teach more."""
PLACE_STEPS = 24
"""After so many steps one stands elsewhere on the map: by walking alone, few of its rooms would be seen."""
SCENE_STEPS = 400
EMPTY_SHARE = 0.15
"""How many of the kept frames may show no target."""
GORE_EMPTY_SHARE = 0.4
"""The same of scenes in which there is what looks like one: that too is a picture to learn from."""
VARIED = "varied.wad"
"""The file of monsters of other sizes and looks, in the game's folder."""
CHANGE = 3.0
"""How much a frame differs from the last one kept, in grey values of its thumbnail, at the least."""


@dataclass
class _Scene:
    """One game with one look and one way to move."""

    scenario: str
    map: str | None
    seed: int
    weapon: bool
    hud: bool
    behaviour: str
    summoned: int
    """Monsters summoned at a time, on a map."""
    bots: int
    """Other players, on a map."""
    varied: bool
    """Whether monsters have other sizes and looks."""
    gore: bool
    """Whether there is what looks like monsters."""

    @property
    def name(self) -> str:
        """What the data card calls it."""
        kinds = {"with bots": self.bots, "varied": self.varied, "with gore": self.gore}
        return " ".join((self.map or self.scenario, *(kind for kind, there in kinds.items() if there)))


def scenes(frames: int, seed: int, validation: bool) -> Iterator[Sample]:
    """Yield frames with their truth, 640x480.

    Monsters that show too little to be found (see `visible`) are marked as such rather than left out.
    """
    rng = np.random.default_rng([seed, validation])
    left = frames
    while left > 0:
        for sample in _play(
            _draw(rng, validation), np.random.default_rng(rng.integers(2**32)), min(left, SCENE_FRAMES)
        ):
            left -= 1
            yield sample


def _draw(rng: np.random.Generator, validation: bool) -> _Scene:
    scenarios = VALIDATION_SCENARIOS if validation else SCENARIOS
    maps = [m for m in MAPS if (m in VALIDATION_MAPS) == validation]
    drawn = rng.random()
    on_map = drawn >= SCENARIO_SHARE
    bots = BOTS if drawn >= 1 - BOTS_SHARE else 0
    return _Scene(
        scenario=f"freedoom{rng.integers(1, 3)}" if on_map else str(rng.choice(scenarios)),
        map=str(rng.choice(maps)) if on_map else None,
        # Seeds that no profile uses: runs count theirs up from small numbers.
        seed=int(rng.integers(1_000_000_000, 2_000_000_000)),
        weapon=bool(rng.random() < 0.5),
        hud=bool(rng.random() < 0.3),
        behaviour=str(rng.choice(("aim", "sweep", "wander"))),
        summoned=CROWD if rng.random() < CROWD_SHARE else 1,
        bots=bots,
        varied=bool(rng.random() < VARIED_SHARE) and not bots,
        gore=bool(rng.random() < GORE_SHARE) and not bots,
    )


def _play(scene: _Scene, rng: np.random.Generator, most: int) -> Iterator[Sample]:
    game = _made(scene)

    def before(game: Any, folder: Path) -> None:
        if scene.varied:
            write_monsters(folder / VARIED, (*MONSTERS, *OWN_MONSTERS.get(scene.scenario, ())), rng)
            game.add_game_args(f"-file {VARIED}")  # the engine starts in that folder

    with running(game, Settings(weapon=scene.weapon, hud=scene.hud), scene.scenario, before):
        for command in ("god", "give weapons", "give ammo", *["addbot"] * scene.bots):
            game.send_game_command(command)
        yield from _kept(game, scene, rng, most)


def _made(scene: _Scene) -> Any:
    import vizdoom

    home = Path(vizdoom.__file__).parent
    game = vizdoom.DoomGame()
    if scene.map is None:
        game.load_config(str(home / "scenarios" / f"{scene.scenario}.cfg"))
    else:
        wad = str(home / f"{scene.scenario}.wad")
        game.set_doom_game_path(wad)
        game.set_doom_scenario_path(wad)
        # The first game's maps are numbered by episode.
        number = int(scene.map[3:])
        first = f"e{number % 4 + 1}m{number % 9 + 1}"
        game.set_doom_map(scene.map if scene.scenario == "freedoom2" else first)
        game.set_objects_info_enabled(True)
    game.set_mode(vizdoom.Mode.PLAYER)
    game.set_episode_timeout(1_000_000)
    button = vizdoom.Button
    game.set_available_buttons(
        [
            button.TURN_LEFT_RIGHT_DELTA,
            button.MOVE_FORWARD_BACKWARD_DELTA,
            button.MOVE_LEFT_RIGHT_DELTA,
            button.ATTACK,
            button.USE,
        ]
    )
    game.set_seed(scene.seed)
    game.add_game_args("+sv_cheats 1")
    if scene.bots:
        # A game of one's own: it waits for no other, and takes a port that is free, as games beside it do.
        game.add_game_args(f"{HOST_ARGUMENTS} -port {free_port()} -nomonsters")
    return game


def _kept(game: Any, scene: _Scene, rng: np.random.Generator, most: int) -> Iterator[Sample]:
    last: NDArray[Any] | None = None
    kept = empty = 0
    turn, ahead, aside = 0.0, 0.0, 0.0
    places = _places(game) if scene.map is not None else []
    empty_share = GORE_EMPTY_SHARE if scene.gore else EMPTY_SHARE
    for step in range(SCENE_STEPS * (2 if scene.bots else 1)):
        if scene.bots and game.is_player_dead():  # by another who appeared in its place: god is no help
            game.respawn_player()
        elif game.is_episode_finished():
            game.new_episode()
            game.send_game_command("god")
        if step % PLACE_STEPS == 0:
            place = places[rng.integers(len(places))] if places else None
            if scene.gore:
                _put_about(game, place or _position(game), rng)
            elif place is not None:
                _warp(game, place)
            if place is not None:
                game.make_action([float(rng.uniform(0, 360)), 0.0, 0.0, 0.0, 0.0], 1)
        if scene.map is not None and not scene.bots and step % 12 == 0:
            for monster in rng.choice(SUMMONED, scene.summoned):
                game.send_game_command(f"summon {monster}")
        state = game.get_state()
        if state is None:  # a bot ended the map
            return
        found = list(visible(state.labels, state.labels_buffer))
        small = thumbnail(state.screen_buffer)
        changed = last is None or float(np.abs(small - last).mean()) > CHANGE
        plain = any(good for _, _, good in found)
        if changed and (plain or empty < empty_share * (kept + 5)):
            last = small
            kept += 1
            empty += not plain
            boxes = np.array([box for box, _, _ in found], np.float32).reshape(-1, 4)
            classes = np.array([kind for _, kind, _ in found], np.int32)
            hidden = np.array([not good for _, _, good in found], bool)
            yield Sample(state.screen_buffer, boxes, classes, hidden, scene.name)
            if kept == most:
                return
        if step % 8 == 0:
            turn, ahead, aside = rng.normal(0, 6), rng.uniform(-5, 25), rng.normal(0, 8)
        if scene.behaviour == "sweep":
            action = [8.0, 0.0, 0.0, float(rng.random() < 0.2), 0.0]
        elif scene.behaviour == "aim" and plain:
            action = [_towards(found), ahead * 0.5, aside, float(rng.random() < 0.3), 0.0]
        else:
            action = [turn, ahead, aside, float(rng.random() < 0.1), float(rng.random() < 0.05)]
        game.make_action(action, int(rng.integers(2, 6)))


def _places(game: Any) -> list[tuple[int, int]]:
    """Return where things lie or stand on the map, that are no targets: there one can stand too."""
    things = [thing for thing in game.get_state().objects if thing.category not in (*TARGET_CATEGORIES, "Self")]
    return sorted({(round(thing.position_x), round(thing.position_y)) for thing in things})


def _position(game: Any) -> tuple[float, float]:
    """Return where one stands."""
    from vizdoom import GameVariable

    return (game.get_game_variable(GameVariable.POSITION_X), game.get_game_variable(GameVariable.POSITION_Y))


def _warp(game: Any, place: tuple[float, float]) -> None:
    game.send_game_command(f"warp {place[0]:.0f} {place[1]:.0f}")


def _put_about(game: Any, place: tuple[float, float], rng: np.random.Generator) -> None:
    """Put what looks like monsters about a place, by standing there for a moment, and stand at the place."""
    for piece in rng.choice(GORE, GORE_PIECES):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(*GORE_DISTANCE)
        _warp(game, (place[0] + distance * np.cos(angle), place[1] + distance * np.sin(angle)))
        game.send_game_command(f"summon {piece}")
    _warp(game, place)


def _towards(found: list[tuple[tuple[int, int, int, int], int, bool]]) -> float:
    """Return half of the turn to the target nearest the crosshair, degrees."""
    errors = [(box[0] + box[2]) / 2 - 320 for box, _, good in found if good]
    error = min(errors, key=abs)
    return 0.5 * float(np.degrees(np.arctan(error / 320)))
