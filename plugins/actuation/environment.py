"""Actuation `environment`: acts in the game that the capture plays, and reaches nothing else."""

from __future__ import annotations

from agent.context import Context
from agent.factories import ActuationFactory, NoSettings
from agent.hookspecs import hookimpl
from agent.types import IDLE, Action
from core.errors import UserError


class EnvironmentActuation:
    """Hands actions to the environment.

    :raises UserError: the capture is not an environment.
    """

    def __init__(self, settings: NoSettings, context: Context) -> None:
        if context.environment is None:
            raise UserError(
                "the actuation environment acts in a game that the capture plays, and this capture plays none; "
                "use the actuation dry-run or mouse"
            )
        self._apply = context.environment.apply

    def apply(self, action: Action) -> None:
        """Take effect at the game's next step."""
        self._apply(action)

    def release(self) -> None:
        """Do nothing at the next step."""
        self._apply(IDLE)


@hookimpl
def reticle_actuation() -> ActuationFactory:
    """Offer `environment`."""
    return ActuationFactory(
        "environment", EnvironmentActuation, NoSettings, "in the game that the capture plays", reaches="own-game"
    )
