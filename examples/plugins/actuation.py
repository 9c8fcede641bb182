"""Actuation `dial`: shows the motion as a bar in the terminal and moves nothing."""

import sys

from reticle import Action, ActuationFactory, Context, NoSettings, hookimpl


class Dial:
    """A bar of twenty characters, on stderr."""

    def __init__(self, settings: NoSettings, context: Context) -> None:
        self._down = 0

    def apply(self, action: Action) -> None:
        """Show the motion; a star says that a button is down."""
        self._down = action.buttons
        place = max(0, min(19, 10 + action.dx // 10))
        sys.stderr.write("\r[" + " " * place + ("*" if self._down else "|") + " " * (19 - place) + "]")

    def release(self) -> None:
        """Nothing is held."""
        self._down = 0


@hookimpl
def reticle_actuation() -> ActuationFactory:
    """Offer `dial`."""
    return ActuationFactory("dial", Dial, NoSettings, "a bar in the terminal", reaches="nothing")
