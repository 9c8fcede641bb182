"""Capture `doom`: the real game, by ViZDoom, played in this process; it knows the truth and the score."""

from __future__ import annotations

import contextlib
import importlib.util
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
import psutil
from numpy.typing import NDArray
from pydantic import Field

from agent.errors import UserError
from agent.hookspecs import Context, Maker, PluginSettings, Sample, hookimpl
from agent.types import IDLE, LEFT, Action, Detections, Episode, Frame
from plugins.lifeline import Lifeline

TIC_RATE = 35
"""Doom's steps a second."""
DEGREES_PER_COUNT = 24 * 360 / 65536
"""What one mouse count turns at Doom's default sensitivity: 24 of the 65536 parts of a circle."""

MULTIPLAYER = ("cig", "multi", "multi_duel")
"""Scenarios that wait for other players."""

TARGET_CATEGORIES = ("Monster", "Player")
"""ViZDoom's object categories that are to be shot; corpses are Gore, one's own weapon is Self."""
NAMES = tuple(category.lower() for category in TARGET_CATEGORIES)
MIN_VISIBLE_PIXELS = 24
MIN_HEIGHT_PX = 8
MIN_VISIBLE_SHARE = 0.2
"""Least part of its box that a target shows. Less is behind something, and cannot be found by looking."""


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


class DoomCapture:
    """A game of Doom as an environment: lock-step it waits for the loop, live it runs 35 tics a second.

    The same seed and actions give bit-identical frames. Episode i is seeded with `seed + i`.

    :raises UserError: there is no such scenario, or the game does not start.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        import vizdoom

        self._vizdoom = vizdoom
        self._settings = settings
        self._seed = context.seed
        self._limit = context.episodes
        self._period_ns = 0 if context.lock_step else settings.tics * 1_000_000_000 // TIC_RATE
        self._next_ns = 0
        self._pending = IDLE
        self._states: WeakKeyDictionary[Frame, Any] = WeakKeyDictionary()
        self._index = 0
        self._ammo = 0.0
        self._weapon = 0.0
        self.names = NAMES
        self.episodes: list[Episode] = []
        self._current: Episode | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="reticle-doom-")
        self._scenario = _scenario_path(settings.scenario, context)
        self._game = vizdoom.DoomGame()
        children = set(psutil.Process().children())
        try:
            self._configure()
            # The engine leaves a folder of its own where it is started.
            with contextlib.chdir(self._folder.name), signals_held_back():
                self._game.init()
        except (vizdoom.ViZDoomErrorException, vizdoom.FileDoesNotExistException) as error:
            self._folder.cleanup()
            raise UserError(f"Doom does not start with scenario {settings.scenario}: {error}") from error
        except vizdoom.ViZDoomUnexpectedExitException as error:
            self._folder.cleanup()
            window = "; a window needs a display" if settings.window else ""
            raise UserError(f"Doom ended while starting: {error}{window}") from error
        # The engine is a process of its own that can outlive a game that is closed.
        self._engine = set(psutil.Process().children()) - children
        self._lifeline = Lifeline()
        self._lifeline.ask("kill " + " ".join(str(process.pid) for process in self._engine))

    def grab(self) -> Frame | None:
        """Move the world on by the pending action, and return what it shows; None after the last episode."""
        if self._period_ns:
            self._pace()
        try:
            if self._current is not None:
                self._advance(self._current)
            if self._current is None:
                if self._limit is not None and len(self.episodes) >= self._limit:
                    return None
                self._begin()
            grab_ns = time.perf_counter_ns()
            state = self._game.get_state()
        except (self._vizdoom.ViZDoomUnexpectedExitException, self._vizdoom.ViZDoomErrorException) as error:
            raise UserError(f"the game ended by itself: {error}") from error
        frame = Frame(state.screen_buffer, self._index, grab_ns, time.perf_counter_ns(), episode=len(self.episodes))
        # Live, the loop asks for the truth of a frame while the next ones are grabbed; it goes with the frame.
        self._states[frame] = state
        self._index += 1
        return frame

    def truth(self, frame: Frame) -> Detections:
        """Return the visible monsters and players of a frame."""
        state = self._states[frame]
        return truth(state.labels, state.labels_buffer)

    def apply(self, action: Action) -> None:
        """Turn by the action's counts at the next tics, and fire if LEFT is down."""
        self._pending = action

    def close(self) -> None:
        """End the game and its process."""
        self._game.close()
        _, alive = psutil.wait_procs(self._engine, timeout=1.0)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._lifeline.close()
        self._folder.cleanup()

    def _configure(self) -> None:
        vzd, game, settings = self._vizdoom, self._game, self._settings
        if not game.load_config(str(self._scenario)):
            raise UserError(f"{self._scenario}: ViZDoom cannot read this scenario")
        set_up(game, settings, Path(self._folder.name))
        button = vzd.Button
        game.set_available_buttons([button.TURN_LEFT_RIGHT_DELTA, button.LOOK_UP_DOWN_DELTA, button.ATTACK])
        variable = vzd.GameVariable
        game.set_available_game_variables(
            [variable.KILLCOUNT, variable.HITCOUNT, variable.SELECTED_WEAPON, variable.SELECTED_WEAPON_AMMO]
        )

    def _begin(self) -> None:
        seed = self._seed + len(self.episodes)
        self._game.set_seed(seed)
        self._game.new_episode()
        self._current = Episode(self._scenario.stem, seed)
        self._pending = IDLE
        *_, self._weapon, self._ammo = self._game.get_state().game_variables

    def _advance(self, episode: Episode) -> None:
        action, self._pending = self._pending, IDLE
        turn = action.dx * self._settings.degrees_per_count
        look = action.dy * self._settings.degrees_per_count
        self._game.make_action([turn, look, float(action.buttons & LEFT != 0)], self._settings.tics)
        self._score(episode)
        if self._game.is_episode_finished():
            self.episodes.append(episode)
            self._current = None

    def _score(self, episode: Episode) -> None:
        game, variable = self._game, self._vizdoom.GameVariable
        weapon = game.get_game_variable(variable.SELECTED_WEAPON)
        ammo = game.get_game_variable(variable.SELECTED_WEAPON_AMMO)
        if weapon == self._weapon and ammo < self._ammo:
            episode.shots += int(self._ammo - ammo)
        self._weapon, self._ammo = weapon, ammo
        episode.kills = int(game.get_game_variable(variable.KILLCOUNT))
        # Back at 0 once an episode is won.
        episode.tics = max(episode.tics, int(game.get_episode_time()))
        episode.hits = max(episode.hits, int(game.get_game_variable(variable.HITCOUNT)))
        if episode.hits and episode.first_hit_tic is None:
            episode.first_hit_tic = episode.tics

    def _pace(self) -> None:
        now = time.perf_counter_ns()
        if now < self._next_ns:
            time.sleep((self._next_ns - now) / 1e9)
        self._next_ns = max(now, self._next_ns) + self._period_ns


def set_up(game: Any, settings: Settings, folder: Path) -> None:
    """Make a game that has read its scenario look as the settings say, mute, with its labels, its files in a folder."""
    import vizdoom

    game.set_doom_config_path(str(folder / "doom.ini"))
    game.set_window_visible(settings.window)
    game.set_sound_enabled(False)
    game.set_audio_buffer_enabled(False)
    game.set_mode(vizdoom.Mode.PLAYER)
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

    :param labels: of the state: x, y, width, height, value, object_category.
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
        yield box, TARGET_CATEGORIES.index(label.object_category), plain


def collect(frames: int, seed: int, held_out: bool) -> Iterator[Sample]:
    """Yield frames of varied scenes with their truth."""
    from plugins.capture.doom_scenes import scenes

    yield from scenes(frames, seed, held_out)


def check(settings: Settings, context: Context) -> None:
    """See that the scenario is there.

    :raises UserError: it is not.
    """
    _scenario_path(settings.scenario, context)


def _scenario_path(name: str, context: Context) -> Path:
    if name.endswith(".cfg"):
        path = context.path(name)
        if not path.is_file():
            raise UserError(f"{path}: there is no such scenario file")
        return path
    spec = importlib.util.find_spec("vizdoom")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "scenarios"
    path = folder / f"{name}.cfg"
    if not path.is_file() or name in MULTIPLAYER:
        there = sorted(p.stem for p in folder.glob("*.cfg") if p.stem not in MULTIPLAYER)
        raise UserError(f'there is no Doom scenario "{name}"; ViZDoom has: {", ".join(there)}')
    return path


@hookimpl
def reticle_capture() -> Maker:
    """Offer `doom`."""
    return Maker(
        "doom",
        DoomCapture,
        Settings,
        "a game of Doom, by ViZDoom; knows the truth",
        names=NAMES,
        collect=collect,
        check=check,
    )
