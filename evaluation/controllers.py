"""The controllers that a profile's own is compared with, with settings that suit each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.factories import ControllerFactory
from agent.profile import Choice, choose
from core.errors import UserError

REFERENCES: dict[str, dict[str, float]] = {
    "proportional": {"gain": 0.3},
    "pid": {"gain": 0.25, "integral_per_s": 0.3, "derivative_s": 0.004},
    "predictive": {"gain": 0.6},
    "kalman": {"gain": 0.3, "lead_ms": 30.0},
}
"""Their settings where they are not the profile's own: found by hand on the simulated targets, without latency."""


def chosen(
    name: str, own: Choice, factories: Mapping[str, ControllerFactory], given: Mapping[str, Any] | None = None
) -> Choice:
    """Return a controller with the settings that it shares with the profile's own, and its own figures.

    :param given: settings over all others; those that it does not know are left out.
    :raises UserError: there is no such controller.
    """
    if name not in factories:
        raise UserError(f'there is no controller "{name}"; known are: {", ".join(factories)}')
    factory = factories[name]
    shared = own.settings.model_dump(exclude_unset=True)
    figures = {} if name == own.name else REFERENCES.get(name, {})
    merged = {**shared, **figures, **(given or {})}
    known = factory.settings.model_fields
    fitting = {key: value for key, value in merged.items() if key in known and _fits(factory, key, value)}
    return choose(factory, own.where or "aim", **fitting)


def _fits(factory: ControllerFactory, key: str, value: Any) -> bool:
    """Tell whether a setting of that name takes such a value: two controllers may mean different things by one."""
    wanted = factory.settings.model_fields[key].default
    return isinstance(value, dict) == isinstance(wanted, dict)
