"""What a file says, as a section of the page: a title, figures in a table, pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agent.latency_histogram import PERCENTILES, middle_ns
from agent.recording import INFO, is_recording
from core.errors import UserError
from core.provenance import one_line
from core.text import read_json
from evaluation import figures
from evaluation.page import recorded
from evaluation.statistics import described

STAGES = ("grab", "preprocess", "infer", "postprocess", "select", "act", "end_to_end", "frame_age")
COLUMNS = (*PERCENTILES, "max")


@dataclass(frozen=True)
class Table:
    """Texts in lines below heads."""

    title: str
    heads: Sequence[str]
    lines: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture in the page itself, and what it shows, for those too who do not see it."""

    caption: str
    data: str


@dataclass(frozen=True)
class Section:
    """What one file says."""

    title: str
    lead: str
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    provenance: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


def section(path: Path) -> Section:
    """Return what a report's JSON file, or a recording's folder, says.

    :raises UserError: it is none, or cannot be read.
    """
    if path.is_dir():
        if not is_recording(path):
            raise UserError(
                f"{path}: this folder is no recording (it has no {INFO}); give a report's JSON or a recording"
            )
        return _recording(path)
    data = read_json(path, "the report")
    if not isinstance(data, dict):
        raise UserError(f"{path}: this is no report of Reticle's; give what --report or --json wrote, or a recording")
    try:
        if "stages_ms" in data:
            return _run(path, data)
        if "differences" in data:
            return _contest(path, data)
        if "rows" in data:
            return _rows(path, data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: the report is damaged, or of another version: {error!r}") from error
    raise UserError(f"{path}: this is no report that a page can show; it shows runs, arenas, comparisons and benches")


def picture(caption: str, png: bytes) -> Picture:
    """Return a PNG as a picture in the page."""
    return Picture(caption, "data:image/png;base64," + base64.b64encode(png).decode("ascii"))


def _run(path: Path, data: Mapping[str, Any]) -> Section:
    stages = {**data["stages_ms"], "end_to_end": data["end_to_end_ms"], "frame_age": data["frame_age_ms"]}
    lines = [
        [name.replace("_", " "), *(f"{stages[name][p]:.3f}" for p in COLUMNS), str(stages[name]["count"])]
        for name in STAGES
        if stages.get(name, {}).get("count")
    ]
    tables = [Table("Latency, milliseconds", ["stage", *(p.replace("_", ".") for p in COLUMNS), "count"], lines)]
    shown = [measure["name"] for measure in data.get("measures", ()) if measure.get("in_run", True)]
    if data.get("episodes"):
        heads = ["episode", "scenario", "seed", *(name.replace("_", " ") for name in shown)]
        rows = [
            [str(i), str(e.get("scenario", "")), str(e.get("seed", "")), *(_plain(e.get(name)) for name in shown)]
            for i, e in enumerate(data["episodes"], 1)
        ]
        tables.append(Table("Episodes", heads, rows))
    facts = {
        "mode": data["mode"],
        "ended": data["ended"],
        "frames": f"{data['frames']}, {data['dropped']} dropped",
        "actions": f"{data['actions']}; vetoes: {sum(data['vetoes'].values())}",
        "seconds": f"{data['seconds']:g}",
    }
    pictures = [picture("How often each latency came, milliseconds", _histograms(data["histograms_ns"]))]
    return Section(f"Run: {data['profile']}", str(path.name), tables, pictures, _provenance(data), facts)


def _histograms(histograms: Mapping[str, Sequence[Sequence[int]]]) -> bytes:
    drawn = figures.figure(9, 5.5)
    names = [name for name in STAGES if histograms.get(name)]
    panels = drawn.subplots(2, 4, squeeze=False)
    for axes, name in zip(panels.flat, names, strict=False):
        middles = np.array([middle_ns(int(bucket)) / 1e6 for bucket, _ in histograms[name]])
        counts = np.array([count for _, count in histograms[name]], np.float64)
        axes.stairs(*_density(middles, counts), fill=True, color="#3b6ea5")
        axes.set_title(name.replace("_", " "), fontsize=9)
        axes.tick_params(labelsize=7)
        axes.set_yticks([])
    for axes in list(panels.flat)[len(names) :]:
        axes.set_axis_off()
    return figures.png(drawn)


def _density(values: Any, counts: Any) -> tuple[Any, Any]:
    """Return counts and edges of at most 60 buckets up to the 99.5th percentile."""
    order = np.argsort(values)
    values, counts = values[order], counts[order]
    upper = values[min(len(values) - 1, int(np.searchsorted(np.cumsum(counts), 0.995 * counts.sum())))]
    edges = np.linspace(values.min(), max(upper, values.min() + 1e-3), 60)
    return np.histogram(values, edges, weights=counts)


def _recording(path: Path) -> Section:
    found = recorded.read(path)
    pictures = [picture("End-to-end latency, aim error and action over the run", recorded.timeline(found))]
    for caption, png in recorded.worst(found):
        pictures.append(picture(caption, png))
    facts = {"frames": str(len(found.lines)), "seconds": f"{found.seconds:.1f}", "acted": str(found.acted)}
    return Section(f"Recording: {path.name}", "a timeline, and the frames that took longest", (), pictures, "", facts)


def _contest(path: Path, data: Mapping[str, Any]) -> Section:
    tables = []
    for found in data["differences"]:
        heads = ["measure", found["against"], found["contestant"], "difference", "p", "verdict"]
        lines = [
            [
                d["measure"].replace("_", " "),
                f"{d['first']:.2f}",
                f"{d['second']:.2f}",
                described({"mean": d["value"], "low": d["low"], "high": d["high"]}),
                f"{d['p']:.3f}",
                d["verdict"],
            ]
            for d in found["measures"]
        ]
        tables.append(Table(f"{found['contestant']} against {found['against']}", heads, lines))
    paired = "the same seeds, paired" if data["paired"] else "seeds of their own"
    return Section(f"Comparison: {', '.join(data['contestants'])}", paired, tables, (), _provenance(data))


def _rows(path: Path, data: Mapping[str, Any]) -> Section:
    rows = data["rows"]
    heads = list(dict.fromkeys(key for row in rows for key, value in row.items() if not isinstance(value, list)))
    lines = [[_cell(row.get(head)) for head in heads] for row in rows]
    used = [i for i in range(len(heads)) if len(lines) == 1 or any(line[i] not in ("", "-") for line in lines)]
    table = Table("", [heads[i].replace("_", " ") for i in used], [[line[i] for i in used] for line in lines])
    title = "Arena" if rows and "who" in rows[0] else "Bench" if rows and "engine" in rows[0] else "Table"
    if data.get("suite"):
        title = f"Suite: {data['suite']}"
    pictures = [] if title == "Table" else _charts(rows)
    return Section(
        f"{title}: {path.name}", f"{len(rows)} rows, means with 95 % intervals", [table], pictures, _provenance(data)
    )


def _charts(rows: Sequence[Mapping[str, Any]]) -> list[Picture]:
    """Return a chart of the first measure with an interval, a point a row."""
    measure = next((key for row in rows for key, value in row.items() if _is_interval(value)), None)
    if measure is None:
        return []
    there = [row for row in rows if _is_interval(row.get(measure))]
    keys = ("variant", "scenario", "who", "engine", "precision", "latency_ms")
    labels = [" ".join(str(row[key]) for key in keys if row.get(key) and not _is_interval(row[key])) for row in there]
    drawn = figures.figure(9, 1 + 0.22 * len(there))
    axes = drawn.subplots(1, 1)
    values = [row[measure] for row in there]
    means = [value["mean"] for value in values]
    errors = [[abs(value["mean"] - value[end]) for value in values] for end in ("low", "high")]
    axes.errorbar(means, range(len(there)), xerr=errors, fmt="o", markersize=4, capsize=2, color="#3b6ea5")
    axes.set_yticks(range(len(there)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(measure.replace("_", " "))
    axes.grid(alpha=0.3)
    return [picture(f"{measure.replace('_', ' ')}, with 95 % intervals", figures.png(drawn))]


def _is_interval(value: Any) -> bool:
    return isinstance(value, dict) and {"mean", "low", "high"} <= set(value)


def _cell(value: Any) -> str:
    if _is_interval(value):
        return described(value)
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _provenance(data: Mapping[str, Any]) -> str:
    block = data.get("provenance")
    return one_line(block) if isinstance(block, dict) else ""
