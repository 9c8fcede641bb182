"""Capture `doom`: the real game, by ViZDoom, played in this process; it knows the truth and keeps the score."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

from agent.context import Context
from agent.factories import CaptureFactory, Sample, Tell
from agent.hookspecs import hookimpl
from agent.types import IDLE, LEFT, Action, Detections, Episode, Frame
from core.errors import UserError
from plugins.doom.game import NAMES, TIC_RATE, Settings, begin, started, truth
from plugins.doom.levdoom import SUITE
from plugins.doom.scenarios import find
from plugins.doom.score import ENDLESS_MEASURES, MEASURES, Score, revive
from plugins.pace import Pace


class DoomCapture:
    """A game of Doom as an environment: lock-step it waits for the loop, live it runs 35 tics a second.

    The same seed and actions give bit-identical frames. Episode i is seeded with `seed + i`.

    :raises UserError: there is no such scenario, or the game does not start.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        import vizdoom

        self._lost = (vizdoom.ViZDoomUnexpectedExitException, vizdoom.ViZDoomErrorException)
        self._settings = settings
        self._seed = context.seed
        self._limit = context.episodes
        self._lock_step = context.lock_step
        self._pace = Pace(0 if context.lock_step else settings.tics * 1_000_000_000 // TIC_RATE)
        self._pending = IDLE
        self._handing_over = threading.Lock()
        self._states: WeakKeyDictionary[Frame, Any] = WeakKeyDictionary()
        self._index = 0
        self.names = NAMES
        self.measures = ENDLESS_MEASURES if settings.endless else MEASURES
        self.step_s = settings.tics / TIC_RATE
        self.episodes: list[Episode] = []
        self._current: Episode | None = None
        self._scenario = find(settings.scenario, context)
        self._stack = ExitStack()
        self._start(context.seed)

    def grab(self) -> Frame | None:
        """Move the world on by the pending action, and return what it shows; None after the last episode."""
        self._pace.wait()
        try:
            if self._current is not None:
                self._advance(self._current)
            if self._current is None:
                if self._limit is not None and len(self.episodes) >= self._limit:
                    return None
                self._begin()
            grab_ns = time.perf_counter_ns()
            state = self._game.get_state()
        except self._lost as error:
            raise UserError(f"the game ended by itself: {error}") from error
        frame = Frame(state.screen_buffer, self._index, grab_ns, time.perf_counter_ns(), episode=len(self.episodes))
        if self._lock_step:
            frame.at_ns = self._index * self._settings.tics * 1_000_000_000 // TIC_RATE + 1
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
        with self._handing_over:  # live, the capture's thread takes it
            self._pending = action

    def close(self) -> None:
        """End the game and its process."""
        self._stack.close()

    def _start(self, seed: int) -> None:
        self._game = self._stack.enter_context(started(self._settings, self._scenario, "PLAYER", seed))
        self._score = Score(self._game, self._settings.endless, self._scenario.bots)

    def _begin(self) -> None:
        seed = self._seed + len(self.episodes)
        if not self._scenario.bots:
            self._game.set_seed(seed)
            self._game.new_episode()
        elif self.episodes:  # a game for many takes its seed when it starts, and never again
            # The working folder is another while it starts: live, nobody may use a relative path just then.
            self._stack.close()
            self._start(seed)
        begin(self._game, self._settings, self._scenario)
        self._current = Episode(self._scenario.name, seed)
        self._take()  # what was decided on the last episode's frames
        self._score.begin()

    def _take(self) -> Action:
        """Return the pending action, which then is none."""
        with self._handing_over:
            action, self._pending = self._pending, IDLE
        return action

    def _advance(self, episode: Episode) -> None:
        action = self._take()
        turn = action.dx * self._settings.degrees_per_count
        look = -action.dy * self._settings.degrees_per_count  # which the engine counts upwards
        self._game.make_action([turn, look, float(action.buttons & LEFT != 0)], self._settings.tics)
        if self._scenario.bots and not self._game.is_episode_finished() and self._game.is_player_dead():
            revive(self._game, self._settings, self._score)
        finished = self._game.is_episode_finished()
        watched = self._settings.endless and not finished
        self._score.update(episode, self._game.get_state() if watched else None)
        if finished:
            self.episodes.append(episode)
            self._current = None


def collect(settings: Settings, frames: int, seed: int, validation: bool) -> Iterator[Sample]:
    """Yield frames of varied scenes with their truth, whatever scenario the settings name."""
    from plugins.doom.scenes import scenes

    yield from scenes(frames, seed, validation)


def play_in_window(settings: Settings, context: Context, begin: Callable[[], None], tell: Tell) -> None:
    """Open the game in a window and play it from the real mouse and keyboard."""
    from plugins.doom.window import play

    play(settings, context, begin, tell)


def check(settings: Settings, context: Context) -> None:
    """See that the scenario is there.

    :raises UserError: it is not.
    """
    find(settings.scenario, context)


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `doom`."""
    return CaptureFactory(
        "doom",
        DoomCapture,
        Settings,
        "a game of Doom, by ViZDoom; knows the truth",
        class_names=NAMES,
        collect=collect,
        game=play_in_window,
        still={"scenario": "my_way_home", "autoaim": False, "limit_s": 3600},
        check=check,
        suites={"levdoom": SUITE},
    )
