"""Doom by ViZDoom: how a game is started and ended, how it is scored, and what of it is a target."""

from __future__ import annotations

import contextlib
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import Field

from agent.factories import PluginSettings
from agent.types import Detections
from core.display import check_display
from core.errors import UserError
from core.workers import environment
from plugins.desktop.lifeline import GameLifeline
from plugins.doom.room import NAME as ROOM
from plugins.doom.room import write as write_room
from plugins.doom.scenarios import Scenario

TIC_RATE = 35
"""Doom's steps a second."""
DEGREES_PER_COUNT = 24 * 360 / 65536
"""What one mouse count turns at Doom's default sensitivity: 24 of the 65536 parts of a circle."""

BOTS = 7
"""As many as Doom has places for."""
HOST_ARGUMENTS = "-host 1 -deathmatch +sv_forcerespawn 1"
SUPPLIES = ("god", "give ammo")
LITTLE_AMMO = 20
"""Rounds left at which more are given, where they shall not run out."""
PLAYERS_S = 60.0
"""How long an episode with bots is, which ends by nothing else."""

TARGET_CATEGORIES = ("Monster", "Player")
"""ViZDoom's object categories that are to be shot; corpses are Gore, one's own weapon is Self."""
NAMES = ("monster", "player")
"""By looks: a marine is a player, also one that the game moves as a monster (MarineChainsawVzd): the sprite is one."""
MIN_VISIBLE_PIXELS = 24
MIN_HEIGHT_PX = 8
MIN_VISIBLE_SHARE = 0.2
"""The least part of its box that a target shows. Less is behind something, and cannot be found by looking."""


class Settings(PluginSettings):
    """Which game, and how it looks."""

    scenario: str = Field(
        "defend_the_center",
        description="A scenario that ships with ViZDoom, a level of the package LevDoom (`levdoom/flying_enemies`), or "
        "the path of a .cfg.",
    )
    resolution: Literal["320x240", "640x480", "800x600", "1024x768", "1280x720", "1920x1080"] = Field(
        "640x480", description="The picture's size, pixels."
    )
    window: bool = Field(False, description="Whether the game opens a window; otherwise it plays unseen.")
    tics: int = Field(1, ge=1, le=35, description="Steps of 1/35 s from one frame to the next.")
    degrees_per_count: float = Field(
        DEGREES_PER_COUNT, gt=0, description="The game's mouse sensitivity, degrees a count."
    )
    weapon: bool = Field(False, description="Whether one's own weapon is drawn.")
    hud: bool = Field(False, description="Whether the status bar is drawn.")
    autoaim: bool = Field(
        True, description="Whether the game aims up and down by itself; otherwise the mouse does, and must."
    )
    limit_s: float | None = Field(
        None, gt=0, le=36_000, description="How long an episode is, seconds; as the scenario has it by default."
    )
    endless: bool = Field(
        False,
        description="Whether ammunition does not run out and nobody can hurt the player: then an episode lasts its "
        "full time, and is scored by kills a minute.",
    )
    bots: int = Field(BOTS, ge=1, le=BOTS, description="How many bots play in the scenario `players`.")


@contextlib.contextmanager
def started(settings: Settings, scenario: Scenario, mode: str, seed: int | None = None) -> Iterator[Any]:
    """Start a game, yield it, and end it and its process whatever happens.

    :param mode: the name of one of vizdoom's modes: PLAYER waits for the agent, ASYNC_SPECTATOR for nobody.
    :param seed: of the first episode, and of all that an engine plays with bots.
    :raises UserError: the game does not start.
    """
    import vizdoom

    if settings.window:
        check_display("Doom's window")
    game = vizdoom.DoomGame()
    if not game.load_config(str(scenario.config)):
        raise UserError(f"{scenario.config}: ViZDoom cannot read this scenario")
    game.set_mode(getattr(vizdoom.Mode, mode))
    if seed is not None:
        game.set_seed(seed)
    button, variable = vizdoom.Button, vizdoom.GameVariable
    game.set_available_buttons([button.TURN_LEFT_RIGHT_DELTA, button.LOOK_UP_DOWN_DELTA, button.ATTACK])
    game.set_available_game_variables(
        [
            variable.KILLCOUNT,
            variable.FRAGCOUNT,
            variable.HITCOUNT,
            variable.SELECTED_WEAPON,
            variable.SELECTED_WEAPON_AMMO,
        ]
    )
    limit_s = settings.limit_s or (PLAYERS_S if scenario.bots else None)
    if limit_s is not None:
        game.set_episode_timeout(round(limit_s * TIC_RATE))
    if settings.endless or scenario.bots:
        game.add_game_args("+sv_cheats 1")
    if not settings.autoaim:
        game.add_game_args("+autoaim 0 +sv_noautoaim 1 +freelook 1")
    if scenario.map is not None:
        game.set_doom_scenario_path(str(scenario.map))
    with running(game, settings, scenario.name, _host if scenario.bots else None):
        yield game


def _host(game: Any, folder: Path) -> None:
    """Let it be a game for many in a room that is written to the folder; it waits for no other."""
    import vizdoom

    room = folder / "room.wad"
    write_room(room)
    game.set_doom_game_path(str(Path(vizdoom.__file__).parent / "freedoom2.wad"))
    game.set_doom_scenario_path(str(room))
    game.set_doom_map(ROOM)
    game.add_game_args(f"{HOST_ARGUMENTS} -port {free_port()} -nomonsters")


def free_port() -> int:
    """Return a port that is free, as a game for many takes one though nobody joins it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def begin(game: Any, settings: Settings, scenario: Scenario) -> None:
    """Give an episode that has begun what its settings say: bots, a player whom nobody can hurt, ammunition."""
    for _ in range(settings.bots if scenario.bots else 0):
        game.send_game_command("addbot")
    supply(game, settings)


def supply(game: Any, settings: Settings) -> None:
    """Give the player what an endless episode says; who appears in another kills also one whom nobody can hurt."""
    for command in SUPPLIES if settings.endless else ():
        game.send_game_command(command)


@contextlib.contextmanager
def running(
    game: Any, settings: Settings, name: str, before: Callable[[Any, Path], None] | None = None
) -> Iterator[None]:
    """Start a game that knows what to play, mute, with its labels and its files in a folder, and end it afterwards.

    :param before: called with the game and the folder before it starts.
    :raises UserError: it does not start.
    """
    import vizdoom

    children = set(psutil.Process().children())
    with tempfile.TemporaryDirectory(prefix="reticle-doom-") as folder, contextlib.ExitStack() as stack:
        # The engine is a process of its own that can outlive a game that is closed, and an agent that is killed.
        lifeline = GameLifeline(Path(folder))
        stack.callback(lifeline.close)
        stack.callback(_end, game, children)
        _set_up(game, settings, Path(folder))
        if before is not None:
            before(game, Path(folder))
        try:
            # The engine leaves a folder of its own where it is started.
            with contextlib.chdir(folder), signals_held_back(), environment(lifeline.variables):
                game.init()
        except (vizdoom.ViZDoomErrorException, vizdoom.FileDoesNotExistException) as error:
            raise UserError(f"Doom does not start with scenario {name}: {error}") from error
        except vizdoom.ViZDoomUnexpectedExitException as error:
            raise UserError(f"Doom ended while starting: {error}") from error
        yield


def _end(game: Any, others: set[psutil.Process]) -> None:
    """Close a game, and end its process if that does not."""
    engine = _engine(others)
    game.close()
    _, alive = psutil.wait_procs(engine, timeout=1.0)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _engine(others: set[psutil.Process]) -> set[psutil.Process]:
    """Return the processes of the engine that was started since there were only the others."""
    found = set()
    for process in set(psutil.Process().children()) - others:
        with contextlib.suppress(psutil.Error, OSError):  # what it cannot tell must not hide why a game did not start
            if process.name().startswith("vizdoom"):
                found.add(process)
    return found


def _set_up(game: Any, settings: Settings, folder: Path) -> None:
    import vizdoom

    game.set_doom_config_path(str(folder / "doom.ini"))
    game.set_window_visible(settings.window)
    game.set_sound_enabled(False)
    game.set_audio_buffer_enabled(False)
    game.set_screen_resolution(getattr(vizdoom.ScreenResolution, f"RES_{settings.resolution.upper()}"))
    game.set_screen_format(vizdoom.ScreenFormat.BGR24)
    game.set_labels_buffer_enabled(True)
    game.set_depth_buffer_enabled(False)
    game.set_automap_buffer_enabled(False)
    game.set_render_weapon(settings.weapon)
    game.set_render_hud(settings.hud)
    game.set_render_crosshair(False)


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Hold back what a terminal sends to all its processes while the engine starts.

    The engine inherits this, so that a Ctrl-C reaches the agent alone, which then ends the game in order;
    ViZDoom crashes when its engine dies while it starts.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def truth(labels: Any, buffer: NDArray[np.uint8]) -> Detections:
    """Return the targets among ViZDoom's labels, boxes tightened to the pixels that show.

    ViZDoom's boxes take no account of nearer sprites, and some objects have no visible pixel at all.

    :param labels: of the state: x, y, width, height, value, object_category, object_name.
    :param buffer: the labels buffer, (height, width), each pixel its object's value.
    """
    found = [(box, kind) for box, kind, plain in visible(labels, buffer) if plain]
    if not found:
        return Detections.empty()
    boxes, classes = zip(*found, strict=True)
    return Detections(np.array(boxes, np.float32), np.ones(len(boxes), np.float32), np.array(classes, np.int32))


def visible(labels: Any, buffer: NDArray[np.uint8]) -> Iterator[tuple[tuple[int, int, int, int], int, bool]]:
    """Yield box (xyxy), class and whether it shows enough to be found, of every target with a visible pixel."""
    for label in labels:
        if label.object_category not in TARGET_CATEGORIES:
            continue
        x, y = max(0, label.x), max(0, label.y)
        mask = buffer[y : label.y + label.height, x : label.x + label.width] == label.value
        count = int(np.count_nonzero(mask))
        if not count:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        box = (int(x + columns[0]), int(y + rows[0]), int(x + columns[-1] + 1), int(y + rows[-1] + 1))
        plain = (
            count >= MIN_VISIBLE_PIXELS
            and count >= MIN_VISIBLE_SHARE * label.width * label.height
            and box[3] - box[1] >= MIN_HEIGHT_PX
        )
        marine = label.object_category == "Player" or label.object_name.startswith("Marine")
        yield box, int(marine), plain
