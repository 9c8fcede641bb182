"""Actuation `doom`: turns and fires in the game that the capture plays, and reaches nothing else."""

from __future__ import annotations

from agent.errors import UserError
from agent.hookspecs import Context, Maker, NoSettings, hookimpl
from agent.types import IDLE, Action


class DoomActuation:
    """Hands actions to the environment.

    :raises UserError: the capture is not an environment.
    """

    def __init__(self, settings: NoSettings, context: Context) -> None:
        if context.environment is None:
            raise UserError(
                "the actuation doom acts in the game that the capture doom plays, and the capture is another; "
                "use the actuation dry-run or mouse"
            )
        self._apply = context.environment.apply

    def apply(self, action: Action) -> None:
        """Take effect at the game's next tics."""
        self._apply(action)

    def release(self) -> None:
        """Stop firing."""
        self._apply(IDLE)


@hookimpl
def reticle_actuation() -> Maker:
    """Offer `doom`."""
    return Maker("doom", DoomActuation, NoSettings, "in the game of the capture doom", reaches="own-game")
