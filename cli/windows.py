"""What the commands on a game in its window share: its display, its process, and how they end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cli.console import err
from core.errors import UserError

if TYPE_CHECKING:
    from agent.profile import Choice, LoadedProfile
    from evaluation.window import Game


def game_of(loaded: LoadedProfile) -> Choice:
    """Return the capture whose game the profile opens in a window.

    :raises UserError: it names none, or one that cannot.
    """
    choice = loaded.game
    if choice is None:
        raise UserError(f"{loaded.path}: this profile names no game; give it one, as profiles/doom-window.yaml has it")
    if choice.factory.game is None:
        raise UserError(f'{choice.where}: the capture "{choice.name}" cannot open a game in a window')
    return choice


@contextlib.contextmanager
def opened(
    loaded: LoadedProfile, plugins: list[Path] | None, xvfb: bool, live: bool, seed: int, episodes: int
) -> Iterator[tuple[Game, Callable[[], None]]]:
    """Start the profile's game, on its own display where there is none; give it and what to call when all is set up."""
    from agent.plan import arm_key
    from evaluation.window import Game, hand_on_the_keys, own_display

    alone = xvfb or not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform == "win32")
    key = arm_key(loaded) or "shift"
    with contextlib.ExitStack() as stack:
        stack.enter_context(unwinding())
        if alone:
            err.print(f"playing on a display of its own, {stack.enter_context(own_display())}")
        window = Game(loaded.path, tuple(plugins or ()), seed, episodes, loaded.overrides)
        stack.callback(window.close)

        def ready() -> None:
            if alone and live:
                stack.enter_context(hand_on_the_keys(key))
            elif live:
                err.print(f"hold {key} to let it play; the game's window needs the focus")

        yield window, ready


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Let a signal end what is open in order, outside the run too, which has its own way."""

    def end(number: int, _frame: types.FrameType | None) -> None:
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
