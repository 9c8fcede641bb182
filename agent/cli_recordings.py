"""The commands on what runs leave: replay (of recordings), latency (of reports)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from agent import latency as comparing
from agent.cli_console import JsonOption, check_writable, out
from agent.files import write_atomically
from agent.recording import difference


def replay(
    diff: Annotated[
        tuple[Path, Path], typer.Option("--diff", metavar="A B", help="Two recordings: where do they part, and why?")
    ],
    json_file: JsonOption = None,
) -> None:
    """Compare two recordings frame by frame; status 1 when they part. `--footage DIR` of a run replays one."""
    check_writable(json_file)
    one, other = diff
    found = difference(one, other)
    if json_file is not None:
        parts = None if found is None else {"frame": found[0], "why": found[1]}
        write_atomically(json_file, json.dumps({"same": found is None, "parts": parts}, indent=2) + "\n")
    if found is None:
        out.print(f"{one} and {other} decide the same in every frame", soft_wrap=True)
        return
    out.print(f"{one} and {other} part at frame {found[0]}: {found[1]}", soft_wrap=True, markup=False)
    raise SystemExit(1)


def latency(
    reports: Annotated[list[Path], typer.Argument(help="Reports of runs (--report); the first is compared with.")],
    picture: Annotated[Path | None, typer.Option("--out", help="Draw stages and distributions to this PNG.")] = None,
    json_file: JsonOption = None,
) -> None:
    """Print the latencies of runs with 95 % intervals, and say which differences are more than noise."""
    for path in (picture, json_file):
        check_writable(path)
    runs = [comparing.read(path) for path in reports]
    rows = comparing.rows(runs)
    table = Table("run", "stage", "p50 ms", "p99 ms", "p50 against the first", "p99 against the first")
    for row in rows:
        cells = [f"{row[key]['value']:.3f} ({row[key]['low']:.3f} to {row[key]['high']:.3f})" for key in ("p50", "p99")]
        against = ["" if row["against"] is None else _said(row["against"][key]) for key in ("p50", "p99")]
        table.add_row(row["run"], row["stage"].replace("_", " "), *cells, *against)
    out.print(table)
    if json_file is not None:
        write_atomically(json_file, json.dumps({"rows": rows}, indent=2) + "\n")
    if picture is not None:
        write_atomically(picture, comparing.draw(runs))


def _said(ratio: dict[str, float]) -> str:
    noise = "noise" if ratio["low"] <= 1 <= ratio["high"] else "slower" if ratio["value"] > 1 else "faster"
    return f"{ratio['value']:.2f} times ({ratio['low']:.2f} to {ratio['high']:.2f}): {noise}"


COMMANDS = (replay, latency)
