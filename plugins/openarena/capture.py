"""Capture `openarena`: the game, started by this process, and its window's picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from agent.context import Context
from agent.factories import CaptureFactory, PictureOracle, Sample, Tell
from agent.hookspecs import hookimpl
from agent.types import Frame
from plugins.openarena.game_log import GameLog
from plugins.openarena.installation import find
from plugins.openarena.process import TITLE
from plugins.openarena.settings import NAMES, Settings


class OpenArenaCapture:
    """The game in its window on this desktop, grabbed by mss. It plays on until the run ends.

    :raises UserError: the game is not installed or does not start, or there is no display.
    """

    on_demand = True

    def __init__(self, settings: Settings, context: Context) -> None:
        from plugins.capture import mss
        from plugins.openarena.window import opened, started

        installation = find(settings, context)
        mss.monitors()
        with ExitStack() as stack:
            game = stack.enter_context(opened(settings, installation))
            started(settings, game, GameLog(game.log), context.seed)
            region = mss.Settings(window=TITLE, width=settings.width, height=settings.height, skip_duplicates=True)
            self._screen = mss.mss_capture(region, context)
            stack.callback(self._screen.close)
            self._stack = stack.pop_all()
        self._check = game.check

    def grab(self) -> Frame | None:
        """Return the next picture.

        :raises UserError: the game ended.
        """
        self._check()
        return self._screen.grab()

    def close(self) -> None:
        """End the game."""
        self._stack.close()


def collect(settings: Settings, frames: int, seed: int, validation: bool) -> Iterator[Sample]:
    """Yield frames of recorded games with their truth."""
    from plugins.openarena.samples import collect as collected

    yield from collected(settings, frames, seed, validation)


def play_in_window(settings: Settings, context: Context, begin: Callable[[], None], tell: Tell) -> None:
    """Open the game in its window and play it from the real mouse and keyboard."""
    from plugins.openarena.window import play

    play(settings, context, begin, tell)


def check(settings: Settings, context: Context) -> None:
    """See that the game and the maps are there.

    :raises UserError: they are not.
    """
    find(settings, context)


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `openarena`."""
    return CaptureFactory(
        "openarena",
        OpenArenaCapture,
        Settings,
        "OpenArena in its window, a 3D shooter with bots",
        class_names=NAMES,
        collect=collect,
        portion=150,
        game=play_in_window,
        still={"bots": 0, "seconds": 3600},
        oracle=PictureOracle("openarena-colour", {"skins": "truth"}),
        check=check,
    )
