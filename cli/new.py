"""The commands `new ...`: beginnings of what one writes oneself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Write the beginning of a plugin of your own.")


@app.callback()
def group() -> None:
    """Keep `plugin` a command of its own, though it is the only one."""


@app.command()
def plugin(
    role: Annotated[
        str,
        typer.Argument(help="capture, detector, selection, controller, actuation, observer or guard."),
    ],
    name: Annotated[str, typer.Argument(help="What profiles will call it, such as my-selection.")],
    to: Annotated[Path | None, typer.Option("--out", help="The folder, which is made; the name by default.")] = None,
) -> None:
    """Write a plugin that works, its test, and a pyproject.toml that makes it a package."""
    import re

    from agent.roles import ROLES
    from cli.options import one_of
    from cli.output import announce
    from cli.templates import files
    from core.errors import UserError
    from core.files import atomic_folder

    one_of("the role", role, ROLES)
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UserError(f'"{name[:60]}" is no name for a plugin; use small letters, digits and hyphens, as my-{role}')
    folder = to or Path(name)
    with atomic_folder(folder) as target:
        for path, content in files(role, name).items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(content, encoding="utf-8")
    announce("plugin", folder)
