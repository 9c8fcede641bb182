"""A game in a window, played through the screen and the mouse as any game is, and scored by the truth beside.

The game runs in a process of its own (`agent.py game`) and tells its ground truth and scores on a pipe. The agent does
not get them: they go into the score, and to the baseline that plays by them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.border import Border
from agent.context import Context
from agent.loop import END_OF_FRAMES, ActiveRoles
from agent.plan import Options, arm_key
from agent.profile import LoadedProfile, choose
from agent.session import Result, play
from agent.types import Detections, Episode, Frame, Measure
from core.display import check_display, own_display
from core.errors import UserError
from core.text import shown
from core.workers import module_environment
from evaluation.arena import RandomController
from evaluation.middleware import StoppingCapture

log = logging.getLogger("reticle")

PROGRAM = ("-m", "cli")
"""What Python is asked to run for a command in a process of its own."""
ROOT = Path(__file__).resolve().parent.parent
START_S = 60.0
GAME_END_S = 5.0
GAME_OVER = "the game is over"


class Game:
    """The game's process, and what it has told.

    :raises UserError: it does not start; the message is its own.
    """

    def __init__(
        self, profile: Path, plugins: tuple[Path, ...], seed: int, episodes: int, overrides: Sequence[str] = ()
    ) -> None:
        extra = [part for path in plugins for part in ("--plugin", str(path.resolve()))]
        extra += [part for override in overrides for part in ("--set", override)]
        command = [sys.executable, *PROGRAM, "game", "--profile", str(profile.resolve()), "--wait", "--tell", *extra]
        self._process = subprocess.Popen(
            [*command, "--seed", str(seed), "--episodes", str(episodes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=module_environment(),
            start_new_session=True,  # a Ctrl-C is for the agent, which then ends the game
        )
        self.episodes: list[Episode] = []
        self.names: tuple[str, ...] = ()
        self.measures: tuple[Measure, ...] = ()
        self.truth = Detections.empty()
        """The newest ground truth, in pixels of the game's picture."""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._read, name="game", daemon=True)
        self._thread.start()
        try:
            ready = self._ready.wait(START_S)
        except BaseException:  # a signal, which unwinds what is not made yet
            self.close()
            raise
        if not ready or not self.running:
            self._process.kill()
            said = self._process.stderr.read().strip() if self._process.stderr else ""
            self.close()
            raise UserError(said or f"the game's window did not open within {START_S:.0f} s")

    @property
    def running(self) -> bool:
        """False once all episodes are played or the window was closed."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> None:
        """Wait until all episodes are played or the window was closed."""
        self._thread.join(timeout_s)

    def begin(self) -> None:
        """Let the first episode begin."""
        self._write("begin")

    def close(self) -> None:
        """End the game."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join(5)
        # One that is still read from cannot be closed: something else holds its other end.
        pipes = [self._process.stdin, self._process.stderr, *([] if self.running else [self._process.stdout])]
        for pipe in pipes:
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # the game has ended; the run will find no more frames
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while it was read
            for line in self._process.stdout:
                try:
                    self._take(json.loads(line))
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    # A game of somebody else's plugin may print what it likes; what is no message is its log.
                    log.info("the game says: %s", shown(line.rstrip("\n"), 200))
        self._ready.set()

    def _take(self, told: dict[str, Any]) -> None:
        """Take one message in; see `agent.factories.Tell`."""
        if "ready" in told:
            self.names = tuple(told["names"])
            self.measures = tuple(Measure(**measure) for measure in told["measures"])
            self._ready.set()
        elif "episode" in told:
            self.episodes.append(Episode(**told["episode"]))
        else:
            boxes = np.array(told["boxes"], np.float32).reshape(-1, 4)
            self.truth = Detections(boxes, np.ones(len(boxes), np.float32), np.array(told["classes"], np.int32))


class _Oracle:
    """Sees by the truth that the game told last, and not by the picture."""

    def __init__(self, game: Game) -> None:
        self._game = game
        self.names = game.names

    def detect(self, frame: Frame) -> Detections:
        """Return the newest truth."""
        return self._game.truth


def play_window(loaded: LoadedProfile, game: Game, options: Options, who: str, ready: Callable[[], object]) -> Result:
    """Play a game in its window by a profile; return the run's result with the game's episodes.

    :param ready: called when all is made that listens and acts, just before the first episode begins.
    :param who: `agent` (the profile's detector), `oracle` (the truth, by the same way through; `loaded` is then as
        `seen_by` returns it) or `random`.
    """
    told = who == "oracle" and (loaded.game is None or loaded.game.factory.oracle is None)

    def player(roles: ActiveRoles, context: Context) -> ActiveRoles:
        roles = replace(roles, capture=StoppingCapture(roles.capture, lambda: not game.running))
        if told:
            roles = replace(roles, detector=_Oracle(game), border=Border(dict(roles.border.names), game.names))
        elif who == "random":
            roles = replace(roles, controller=RandomController(context.seed))
        ready()
        game.begin()
        return roles

    result = play(loaded, options, middleware=[player])
    if result.ended == END_OF_FRAMES:
        game.wait(GAME_END_S)  # its window goes a moment before it does
    ended = GAME_OVER if not game.running and not result.signal and result.error is None else result.ended
    names = game.names if told else result.names
    return replace(result, episodes=list(game.episodes), measures=game.measures, ended=ended, names=names)


@contextlib.contextmanager
def opened(
    loaded: LoadedProfile, plugins: tuple[Path, ...], xvfb: bool, live: bool, seed: int, episodes: int
) -> Iterator[tuple[Game, Callable[[], None]]]:
    """Start the profile's game, on its own display where there is none; give it and what to call when all is set up.

    :raises UserError: there is no display for it, or it does not start.
    """
    alone = xvfb or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "win32")
    key = arm_key(loaded) or "shift"
    with contextlib.ExitStack() as stack:
        if alone:
            log.info("playing on a display of its own, %s", stack.enter_context(own_display()))
        else:
            check_display("the game's window", "start it in a desktop session, or with --xvfb on a display of its own")
        window = Game(loaded.path, plugins, seed, episodes, loaded.overrides)
        stack.callback(window.close)

        def ready() -> None:
            if alone and live:
                stack.enter_context(hand_on_the_keys(key))
            elif live:
                log.info("hold %s to let it play; the game's window needs the focus", key)

        yield window, ready


@contextlib.contextmanager
def hand_on_the_keys(arm: str) -> Iterator[None]:
    """Hold the arm key of a display that nobody sits at, and give the game's window the focus.

    :param arm: as the guard's setting has it.
    """
    from Xlib import XK, X, display
    from Xlib.ext import xtest

    connection = display.Display()
    windows = [w for w in connection.screen().root.query_tree().children if w.get_attributes().map_state]
    if windows:  # there is no window manager to do it
        windows[-1].set_input_focus(X.RevertToParent, X.CurrentTime)
    names = {"shift": "Shift_L", "ctrl": "Control_L", "alt": "Alt_L"}
    key = connection.keysym_to_keycode(XK.string_to_keysym(names.get(arm, arm)))
    xtest.fake_input(connection, X.KeyPress, key)
    connection.sync()
    try:
        yield
    finally:
        xtest.fake_input(connection, X.KeyRelease, key)
        connection.sync()
        connection.close()


def seen_by(loaded: LoadedProfile, who: str) -> LoadedProfile:
    """Return the profile as a player needs it: an oracle of a game that tells no truth reads it off the picture."""
    oracle = loaded.game.factory.oracle if loaded.game is not None and who == "oracle" else None
    if loaded.game is None or oracle is None:
        return loaded
    factory = loaded.catalogue.find("detector", oracle.detector)
    given = loaded.game.settings.model_dump(exclude_unset=True)
    shared = {name: value for name, value in given.items() if name in factory.settings.model_fields}
    shows = tuple(f"game.{name}={json.dumps(value)}" for name, value in oracle.settings.items())
    loaded = loaded.with_roles(detector=choose(factory, "the oracle", **shared))
    return replace(loaded, overrides=(*loaded.overrides, *shows))


def tells(write: Callable[[str], Any]) -> Callable[[dict[str, Any]], None]:
    """Return what writes one thing that a game tells as a line of JSON."""
    return lambda told: write(json.dumps(told, separators=(",", ":")) + "\n")


def wait_for_line() -> None:
    """Wait until a line comes on standard input."""
    if not sys.stdin.readline():
        raise UserError("whoever was to play the game went away before it began")
