"""What the commands on a game in its window share: its display, its process, and how they end."""

from __future__ import annotations

import contextlib
import signal
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

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
    """Start the profile's game, as `evaluation.window.opened` does, and let a signal end it in order."""
    from evaluation import window

    with unwinding(), window.opened(loaded, tuple(plugins or ()), xvfb, live, seed, episodes) as made:
        yield made


@contextlib.contextmanager
def unwinding() -> Iterator[None]:
    """Let a signal end what is open in order, outside the run too, which has its own way."""

    def end(number: int, _frame: types.FrameType | None) -> None:
        # A second one, as `timeout` sends it and who waits presses it, would break off what the first has begun.
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
