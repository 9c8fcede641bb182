"""The command `replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.console import out
from cli.options import Json


def replay(
    diff: Annotated[
        tuple[Path, Path], typer.Option("--diff", metavar="A B", help="Two recordings: where do they part, and why?")
    ],
    json_file: Json = None,
) -> None:
    """Compare two recordings frame by frame; status 1 when they part. `--footage DIR` of a run replays one."""
    from agent.recording import difference
    from cli.output import save_json
    from core.files import check_writable
    from core.provenance import provenance

    check_writable(json_file)
    one, other = diff
    found = difference(one, other)
    where = None if found is None else {"frame": found[0], "why": found[1]}
    save_json(json_file, {"same": found is None, "first_difference": where}, provenance())
    if found is None:
        out.print(f"{one} and {other} decide the same in every frame", soft_wrap=True)
        return
    out.print(f"{one} and {other} part at frame {found[0]}: {found[1]}", soft_wrap=True, markup=False)
    raise SystemExit(1)
