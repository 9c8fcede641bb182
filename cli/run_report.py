"""A run's report as tables."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from cli.console import LazyConsole
from cli.tables import print_table
from core.provenance import one_line
from core.text import to_json

CONTENDED = 0.05
"""The share of slow frames from which a report speaks of contention."""


def as_text(report: dict[str, Any]) -> str:
    """Return a report as the text of its file."""
    return to_json(report)


def show_report(report: dict[str, Any], console: LazyConsole) -> None:
    """Print a report as tables."""
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
    smaller = "a smaller network" if report["provenance"].get("precision") == "int8" else "a smaller network or INT8"
    if contention["share"] > CONTENDED:
        console.print(
            f"[yellow]In {100 * contention['share']:.0f} % of the frames the network took more than twice its "
            f"{contention['alone_ms']:.2f} ms: something else (the game?) takes its processor. loop.max_fps leaves it "
            f"room; {smaller} takes less.[/]",
            soft_wrap=True,
        )
    if report["classes"]:
        found = ", ".join(f"{name} {n}" for name, n in list(report["classes"].items())[:8])
        console.print(f"Detections in {report['frames_with_detections']} frames: {escape(found)}.", soft_wrap=True)
    _latencies(report, console)
    if report["episodes"]:
        _episodes(report, console)
    console.print(one_line(report["provenance"]), style="dim", markup=False, soft_wrap=True)


def _latencies(report: dict[str, Any], console: LazyConsole) -> None:
    from agent.latency_histogram import PERCENTILES

    columns = [*PERCENTILES, "max", "count"]
    rows = {**report["stages_ms"], "end to end": report["end_to_end_ms"], "frame age": report["frame_age_ms"]}
    lines = [
        [name, *(str(row[c]) if c == "count" else "-" if row[c] is None else f"{row[c]:.3f}" for c in columns)]
        for name, row in rows.items()
    ]
    heads = ["latency, ms", *(column.replace("_", ".") for column in columns)]
    last = list(rows).index("end to end")
    print_table(heads, lines, optional=("count", "p99.9", "p90"), numbers=heads[1:], bold=(last,), console=console)


def _episodes(report: dict[str, Any], console: LazyConsole) -> None:
    measures = [measure["name"] for measure in report["measures"] if measure["in_run"]]
    lines = [
        [str(i), episode["scenario"], str(episode["seed"]), *(_number(episode.get(name)) for name in measures)]
        for i, episode in enumerate(report["episodes"], 1)
    ]
    count = len(lines)
    if count > 1:
        means = []
        for name in measures:
            values = [v for v in (episode.get(name) for episode in report["episodes"]) if v is not None]
            means.append(f"{sum(values) / len(values):.1f}" if values else "-")
        lines.append(["mean", "", "", *means])
    heads = ["episode", "scenario", "seed", *measures]
    print_table(heads, lines, numbers=measures, bold=(count,) if count > 1 else (), console=console)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
