"""Doom by ViZDoom: how a game is started and ended, how it is scored, and what of it is a target."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import Field

from agent.context import Context
from agent.factories import PluginSettings
from agent.types import Detections, Episode, Measure
from core.errors import UserError
from core.workers import environment
from plugins.desktop.lifeline import GameLifeline

TIC_RATE = 35
"""Doom's steps a second."""
DEGREES_PER_COUNT = 24 * 360 / 65536
"""What one mouse count turns at Doom's default sensitivity: 24 of the 65536 parts of a circle."""

MULTIPLAYER = ("cig", "multi", "multi_duel")
"""Scenarios that wait for other players."""

TARGET_CATEGORIES = ("Monster", "Player")
"""ViZDoom's object categories that are to be shot; corpses are Gore, one's own weapon is Self."""
NAMES = ("monster", "player")
"""By looks: a marine is a player, also one that the game moves as a monster (MarineChainsawVzd): the sprite is one."""
MIN_VISIBLE_PIXELS = 24
MIN_HEIGHT_PX = 8
MIN_VISIBLE_SHARE = 0.2
"""The least part of its box that a target shows. Less is behind something, and cannot be found by looking."""


MEASURES = (
    Measure("kills", "Targets killed."),
    Measure("shots", "Shots fired.", in_arena=False),
    Measure("tics", "The episode's length in Doom's steps of 1/35 s.", in_arena=False),
    Measure("hits", "Shots that hit a target.", in_run=False, in_arena=False),
    Measure("hits_per_shot", "Hits a shot.", in_run=False),
    Measure("first_hit_tic", "The step of the first hit.", in_run=False, in_arena=False),
    Measure("first_hit_ms", "When the first hit was, milliseconds.", in_run=False),
)
"""What an episode is scored by."""


class Settings(PluginSettings):
    """Which game, and how it looks."""

    scenario: str = Field("defend_the_center", description="A scenario that ships with ViZDoom, or the path of a .cfg.")
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


@contextlib.contextmanager
def started(settings: Settings, scenario: Path, mode: str) -> Iterator[Any]:
    """Start a game, yield it, and end it and its process whatever happens.

    :param scenario: a .cfg of ViZDoom.
    :param mode: the name of one of vizdoom's modes: PLAYER waits for the agent, ASYNC_SPECTATOR for nobody.
    :raises UserError: the game does not start.
    """
    import vizdoom

    game = vizdoom.DoomGame()
    if not game.load_config(str(scenario)):
        raise UserError(f"{scenario}: ViZDoom cannot read this scenario")
    game.set_mode(getattr(vizdoom.Mode, mode))
    button, variable = vizdoom.Button, vizdoom.GameVariable
    game.set_available_buttons([button.TURN_LEFT_RIGHT_DELTA, button.LOOK_UP_DOWN_DELTA, button.ATTACK])
    game.set_available_game_variables(
        [variable.KILLCOUNT, variable.HITCOUNT, variable.SELECTED_WEAPON, variable.SELECTED_WEAPON_AMMO]
    )
    if not settings.autoaim:
        game.add_game_args("+autoaim 0 +sv_noautoaim 1 +freelook 1")
    if settings.limit_s is not None:
        game.set_episode_timeout(round(settings.limit_s * TIC_RATE))
    with running(game, settings, scenario.stem):
        yield game


@contextlib.contextmanager
def running(game: Any, settings: Settings, name: str) -> Iterator[None]:
    """Start a game that knows what to play, mute, with its labels and its files in a folder, and end it afterwards.

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
        try:
            # The engine leaves a folder of its own where it is started.
            with contextlib.chdir(folder), signals_held_back(), environment(lifeline.variables):
                game.init()
        except (vizdoom.ViZDoomErrorException, vizdoom.FileDoesNotExistException) as error:
            raise UserError(f"Doom does not start with scenario {name}: {error}") from error
        except vizdoom.ViZDoomUnexpectedExitException as error:
            window = "; a window needs a display" if settings.window else ""
            raise UserError(f"Doom ended while starting: {error}{window}") from error
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


class Score:
    """Keeps an episode's counts up to date from the game's variables."""

    def __init__(self, game: Any) -> None:
        import vizdoom

        self._game = game
        self._variable = vizdoom.GameVariable
        self._ammo = self._weapon = 0.0
        self.begin()

    def begin(self) -> None:
        """Begin an episode, with the weapon and the ammunition that there are."""
        self._weapon, self._ammo = self._held()
        self._shots = self._tics = self._hits = 0
        self._first_hit_tic: int | None = None

    def update(self, episode: Episode) -> None:
        """Count what happened since the last call."""
        weapon, ammo = self._held()
        if weapon == self._weapon and ammo < self._ammo:
            self._shots += int(self._ammo - ammo)
        self._weapon, self._ammo = weapon, ammo
        # Time and hits are back at 0 once an episode is won.
        self._tics = max(self._tics, int(self._game.get_episode_time()))
        self._hits = max(self._hits, int(self._game.get_game_variable(self._variable.HITCOUNT)))
        if self._hits and self._first_hit_tic is None:
            self._first_hit_tic = self._tics
        first = self._first_hit_tic
        episode.scores = {
            "kills": int(self._game.get_game_variable(self._variable.KILLCOUNT)),
            "shots": self._shots,
            "tics": self._tics,
            "hits": self._hits,
            "hits_per_shot": min(1.0, self._hits / self._shots) if self._shots else None,
            "first_hit_tic": first,
            "first_hit_ms": None if first is None else round(first / TIC_RATE * 1e3, 1),
        }

    def _held(self) -> tuple[float, float]:
        get, variable = self._game.get_game_variable, self._variable
        return get(variable.SELECTED_WEAPON), get(variable.SELECTED_WEAPON_AMMO)


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


def scenario_path(name: str, context: Context) -> Path:
    """Return the file of a scenario that ships with ViZDoom, or of one's own, by a path that ends in .cfg.

    :raises UserError: there is none (the message lists ViZDoom's), or no ViZDoom.
    """
    spec = importlib.util.find_spec("vizdoom")
    if spec is None or spec.origin is None:
        raise UserError(
            "Doom is played by the package vizdoom, which is not installed: it has wheels for Linux, Windows, and Macs "
            "with Apple's processors from macOS 14 on"
        )
    if name.endswith(".cfg"):
        path = context.path(name)
        if not path.is_file():
            raise UserError(f"{path}: there is no such scenario file")
        return path
    folder = Path(spec.origin).parent / "scenarios"
    path = folder / f"{name}.cfg"
    if not path.is_file() or name in MULTIPLAYER:
        there = sorted(p.stem for p in folder.glob("*.cfg") if p.stem not in MULTIPLAYER)
        raise UserError(f'there is no Doom scenario "{name}"; ViZDoom has: {", ".join(there)}')
    return path
