"""The command `fetch`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import progress


def fetch(
    name: Annotated[str, typer.Argument(help="yolov4, yolov4-tiny, yolov3 or yolov3-tiny.")],
    to: Annotated[Path | None, typer.Option("--out", help="The bundle's folder; models/NAME by default.")] = None,
) -> None:
    """Download official weights into a bundle: checked by sha256, resumed where they broke off."""
    from cli.output import announce
    from conversion import fetch as fetching
    from engine.models import bundles_folder

    with progress() as tell:
        bundle = fetching.fetch(name, to or bundles_folder() / name, tell)
    announce("bundle", bundle)
