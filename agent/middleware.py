"""What may stand between the roles of a run, to measure one or to replace it: `play(..., middleware=[...])`.

A middleware is a function from the roles that the loop is about to call, and the run's context, to the roles that it
shall call instead. It is called once, when everything is created and nothing has begun. The arena scores a detector so,
calibration takes the controller's place, and a benchmark times one. The interlock is not among what can be changed:
whatever a middleware returns, actions pass the run's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from agent.context import Context
from agent.loop import ActiveRoles

Middleware = Callable[[ActiveRoles, Context], ActiveRoles]


def applied(middleware: Sequence[Middleware], roles: ActiveRoles, context: Context) -> ActiveRoles:
    """Return the roles with every middleware around them, the first one innermost, and the same interlock."""
    interlock = roles.interlock
    for wrap in middleware:
        roles = replace(wrap(roles, context), interlock=interlock)
    return roles
