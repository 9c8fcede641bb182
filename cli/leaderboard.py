"""The command `leaderboard`: a file of raw episodes, and the table that follows from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json


def leaderboard(
    file: Annotated[Path, typer.Argument(help="The leaderboard, as `arena --leaderboard` writes it.")],
    by_scenario: Annotated[bool, typer.Option("--by-scenario", help="A row for each scenario.")] = False,
    markdown_file: Annotated[Path | None, typer.Option("--markdown", help="Write the table as Markdown.")] = None,
    json_file: Json = None,
) -> None:
    """Reckon every mean of a leaderboard anew from its episodes, and print the table, the best first."""
    from cli.output import save, save_json
    from cli.tables import print_table
    from core.files import check_writable
    from evaluation import figures
    from evaluation import leaderboard as boards

    for path in (markdown_file, json_file):
        check_writable(path)
    rows = boards.standings(boards.read(file), by_scenario)
    heads, lines = boards.heads_and_lines(rows)
    print_table(heads, lines, prose=("name",), optional=("episodes",))
    save_json(json_file, {"rows": [row.to_dict() for row in rows]})
    save(markdown_file, figures.markdown(heads, lines), "table")
