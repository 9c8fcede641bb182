"""The command `latency`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.options import Json


def latency(
    reports: Annotated[list[Path], typer.Argument(help="Reports of runs (--report); the first is compared with.")],
    picture: Annotated[
        Path | None, typer.Option("--out", help="Draw stages and distributions to this PNG (extra plots).")
    ] = None,
    json_file: Json = None,
) -> None:
    """Print the latencies of runs with 95 % intervals, and say which differences are more than noise."""
    from cli.output import print_provenance, save, save_json
    from cli.tables import print_table
    from core.files import check_writable
    from core.provenance import provenance
    from evaluation import figures
    from evaluation import latency as comparing

    for path in (picture, json_file):
        check_writable(path)
    if picture is not None:
        figures.check()
    runs = [comparing.read(path) for path in reports]
    rows = comparing.rows(runs)
    lines = []
    for row in rows:
        cells = [f"{row[key]['value']:.3f} ({row[key]['low']:.3f} to {row[key]['high']:.3f})" for key in ("p50", "p99")]
        against = ["" if row["against"] is None else _verdict(row["against"][key]) for key in ("p50", "p99")]
        lines.append([row["run"], row["stage"].replace("_", " "), *cells, *against])
    heads = ["run", "stage", "p50 ms", "p99 ms", "p50 against the first", "p99 against the first"]
    print_table(heads, lines)
    block = provenance()
    print_provenance(block)
    save_json(json_file, {"rows": rows}, block)
    if picture is not None:
        save(picture, comparing.draw(runs), "picture")


def _verdict(ratio: dict[str, float]) -> str:
    noise = "noise" if ratio["low"] <= 1 <= ratio["high"] else "slower" if ratio["value"] > 1 else "faster"
    return f"{ratio['value']:.2f} times ({ratio['low']:.2f} to {ratio['high']:.2f}): {noise}"
