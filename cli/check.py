"""The command `check`."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.console import out
from cli.options import Overrides, Plugins, load


def check(
    profile: Annotated[str, typer.Argument(help="A path, or a name in profiles/.")],
    overrides: Overrides = None,
    plugin: Plugins = None,
) -> None:
    """Validate a profile and the settings of its plugins, and see that the files it names are there."""
    from dataclasses import replace

    from agent.context import outside_a_run
    from agent.session import check_all

    loaded = load(profile, plugin, overrides)
    context = outside_a_run(loaded.path.resolve().parent)
    choices = [choice for _, choice in loaded.roles.items()]
    check_all(choices, replace(context, calibration=loaded.profile.calibration))
    roles = loaded.roles
    single = (roles.capture, roles.detector, roles.selection, roles.controller, roles.actuation)
    names = ", ".join(choice.name for choice in single)
    out.print(f"{loaded.path}: a valid profile ({loaded.profile.mode}: {names})", soft_wrap=True)
