"""The table at the end of a run, and the same as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent import __version__
from agent.files import write_atomically
from agent.session import Result
from agent.timing import PERCENTILES

CONTENDED = 0.05
"""The share of slow frames from which a report speaks of contention."""


def as_json(result: Result) -> dict[str, Any]:
    """Return the run's report as docs/reports.md describes it."""
    tally = result.tally
    return {
        "version": __version__,
        "profile": result.profile,
        "mode": result.mode,
        "ended": result.ended,
        "seconds": round((tally.ended_ns - tally.started_ns) / 1e9, 3),
        "frames": tally.frames,
        "dropped": tally.dropped,
        "duplicates": tally.duplicates,
        "detections": tally.detections,
        "frames_with_detections": tally.frames_with_detections,
        "classes": {_name(result, i): n for i, n in sorted(tally.classes.items(), key=lambda item: -item[1])},
        "actions": result.actions,
        "vetoes": result.vetoes,
        "veto_reasons": [
            {"guard": guard, "reason": reason, "count": n} for (guard, reason), n in result.veto_reasons.items()
        ],
        "contention": {
            "alone_ms": round(tally.alone_ns / 1e6, 4) if tally.alone_ns else None,
            "frames": tally.contended,
            "share": round(tally.contended / tally.frames, 4) if tally.frames else 0.0,
        },
        "watchdog_trips": result.watchdog_trips,
        "observer_drops": result.observer_drops,
        "observer_failures": result.observer_failures,
        "decisions": tally.decisions,
        "stages_ms": {name: stage.summary_ms() for name, stage in tally.stages.items()},
        "end_to_end_ms": tally.end_to_end.summary_ms(),
        "frame_age_ms": tally.frame_age.summary_ms(),
        "histograms_ns": {
            **{name: stage.buckets() for name, stage in tally.stages.items()},
            "end_to_end": tally.end_to_end.buckets(),
            "frame_age": tally.frame_age.buckets(),
        },
        "setup": result.setup,
        "episodes": [asdict(episode) for episode in result.episodes],
    }


def write(result: Result, path: Path) -> None:
    """Write the report as JSON; the file is complete or not there.

    :raises UserError: the file cannot be written.
    """
    write_atomically(path, json.dumps(as_json(result), indent=2) + "\n")


def show(result: Result, console: Console) -> None:
    """Print the report as tables."""
    report = as_json(result)
    rate = report["frames"] / report["seconds"] if report["seconds"] else 0.0
    console.print(
        f"[bold]{escape(report['profile'])}[/] ({report['mode']}) ended: {report['ended']}. "
        f"{report['frames']} frames in {report['seconds']:.1f} s ({rate:.0f} a second), "
        f"{report['dropped']} dropped, {report['duplicates']} duplicates, {report['actions']} actions "
        f"({report['setup']['actuation']['plugin']}), {sum(report['vetoes'].values())} vetoes.",
        soft_wrap=True,
    )
    for row in sorted(report["veto_reasons"], key=lambda row: -row["count"])[:5]:
        console.print(f"{row['count']} vetoes by {row['guard']}: {escape(row['reason'])}.", soft_wrap=True)
    for key, text in (
        ("watchdog_trips", "times the watchdog released the buttons"),
        ("observer_drops", "events lost to slow observers"),
    ):
        if report[key]:
            console.print(f"[yellow]{report[key]} {text}.[/]")
    contention = report["contention"]
    if contention["share"] > CONTENDED:
        console.print(
            f"[yellow]In {100 * contention['share']:.0f} % of the frames the network took more than twice its "
            f"{contention['alone_ms']:.2f} ms: something else (the game?) takes its processor. loop.max_fps leaves it "
            "room; a smaller network or INT8 takes less.[/]",
            soft_wrap=True,
        )
    if report["classes"]:
        found = ", ".join(f"{name} {n}" for name, n in list(report["classes"].items())[:8])
        console.print(f"Detections in {report['frames_with_detections']} frames: {escape(found)}.", soft_wrap=True)
    console.print(_latencies(report))
    if result.episodes:
        console.print(_episodes(result))


def _name(result: Result, class_id: int) -> str:
    return result.names[class_id] if class_id < len(result.names) else str(class_id)


def _latencies(report: dict[str, Any]) -> Table:
    table = Table("latency, ms", title_justify="left")
    columns = [*PERCENTILES, "max", "count"]
    for column in columns:
        table.add_column(column.replace("_", "."), justify="right")
    rows = {**report["stages_ms"], "end to end": report["end_to_end_ms"], "frame age": report["frame_age_ms"]}
    for name, row in rows.items():
        cells = [str(row[c]) if c == "count" else "-" if row[c] is None else f"{row[c]:.3f}" for c in columns]
        table.add_row(name, *cells, style="bold" if name == "end to end" else "")
    return table


def _episodes(result: Result) -> Table:
    table = Table("episode", "scenario", "seed")
    for column in ("kills", "shots", "tics"):
        table.add_column(column, justify="right")
    for i, e in enumerate(result.episodes, 1):
        table.add_row(str(i), e.scenario, str(e.seed), str(e.kills), str(e.shots), str(e.tics))
    n = len(result.episodes)
    if n > 1:
        means = [f"{sum(getattr(e, key) for e in result.episodes) / n:.1f}" for key in ("kills", "shots", "tics")]
        table.add_row("mean", "", "", *means, style="bold")
    return table
