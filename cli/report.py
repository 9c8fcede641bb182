"""The command `report`: one page of HTML about runs, recordings, arenas, comparisons and benches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    files: Annotated[
        list[Path], typer.Argument(help="JSON files that --report or --json wrote, and folders that --record wrote.")
    ],
    page: Annotated[Path, typer.Option("--out", help="The page, which needs no other file.")] = Path("report.html"),
    title: Annotated[str, typer.Option(help="What the page is called.")] = "Reticle report",
) -> None:
    """Write one page of HTML: latency distributions, timelines, the worst frames, tables (extra plots)."""
    from datetime import datetime

    from cli.console import progress
    from cli.output import save
    from core.files import check_writable
    from core.progress import counter
    from evaluation.page.render import check, render
    from evaluation.page.sections import section

    check()
    check_writable(page)
    sections = []
    with progress() as tell:
        count = counter(tell, "files", len(files))
        for path in files:
            sections.append(section(path))
            count()
    save(page, render(sections, title, datetime.now().astimezone().isoformat(timespec="minutes")), "page")
