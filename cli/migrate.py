"""The command `migrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import out


def migrate(
    profile: Annotated[str, typer.Argument(help="A profile written for an earlier version: its path, or a name.")],
    to: Annotated[Path | None, typer.Option("--out", help="Write the new one here; by default over the old.")] = None,
) -> None:
    """Rewrite a profile of an earlier version, comments included; what is up to date stays as it is."""
    from agent.profile import find_profile
    from cli.migration import migrated
    from cli.output import announce
    from core.files import write_atomically
    from core.text import read_text

    path = find_profile(profile)
    text = read_text(path, "the profile")
    new, changes = migrated(text, path)
    if not changes:
        out.print(f"{path}: this profile is up to date", soft_wrap=True)
        return
    for change in changes:
        out.print(change, soft_wrap=True, markup=False)
    write_atomically(to or path, new)
    announce("profile", to or path)
