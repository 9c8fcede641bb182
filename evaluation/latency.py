"""Latencies of runs compared: percentiles with bootstrap intervals, and which differences are more than noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agent.latency_histogram import BUCKETS, STAGES, middle_ns
from core.errors import UserError
from core.text import read_json, validated
from evaluation.figures import figure, png
from evaluation.statistics import bounds, resampled_percentile

RESAMPLES = 1000
PERCENTILES = {"p50": 0.5, "p99": 0.99}
BLOCK = 50
"""Frames that are as slow as their neighbours: intervals are those of so many times fewer independent ones."""


Buckets = list[tuple[Annotated[int, Field(ge=0, lt=BUCKETS)], Annotated[int, Field(gt=0, le=10**9)]]]
"""Pairs of a bucket's number and how many frames fell into it: no run has more of them."""


@dataclass(frozen=True)
class Run:
    """A report's histograms: for each stage the durations (ms, middles of buckets) and how often each came."""

    name: str
    stages: dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]]


def read(path: Path) -> Run:
    """Read a report.

    :raises UserError: it is none, or is of a version that kept no histograms.
    """
    what = "the report of a run"
    report = read_json(path, what)
    if not isinstance(report, dict) or "histograms_ns" not in report:
        raise UserError(f"{path}: this is no report of a run with histograms; make one with --report")
    listed = validated(dict[str, Buckets], report["histograms_ns"], path, what)
    stages = {name: _histogram(pairs) for name, pairs in listed.items() if pairs}
    if not stages:
        raise UserError(f"{path}: this run worked on no frame, so there is nothing to compare")
    return Run(path.stem, stages)


def _histogram(pairs: Sequence[tuple[int, int]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    buckets, counts = zip(*pairs, strict=True)
    return np.array([middle_ns(b) for b in buckets]) / 1e6, np.array(counts, np.int64)


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return a row for each run and stage: p50 and p99, ms, with 95 % intervals, and their ratios to the first."""
    rng = np.random.default_rng(0)
    table = []
    first: dict[str, dict[str, NDArray[np.float64]]] = {}
    for number, run in enumerate(runs):
        for stage, (values, counts) in run.stages.items():
            drawn = {key: _drawn(values, counts, part, rng) for key, part in PERCENTILES.items()}
            row: dict[str, Any] = {"run": run.name, "stage": stage, "count": int(counts.sum()), "against": None}
            for key, part in PERCENTILES.items():
                row[key] = _interval(_percentile(values, counts, part), drawn[key])
            if number == 0:
                first[stage] = drawn
            elif stage in first:
                mine, theirs = run.stages[stage], runs[0].stages[stage]
                row["against"] = {
                    key: _interval(
                        _percentile(*mine, part) / _percentile(*theirs, part), drawn[key] / first[stage][key]
                    )
                    for key, part in PERCENTILES.items()
                }
            table.append(row)
    return table


def _percentile(values: NDArray[np.float64], counts: NDArray[np.int64], part: float) -> float:
    rank = np.searchsorted(np.cumsum(counts), part * counts.sum())
    return float(values[min(rank, len(values) - 1)])


def _drawn(
    values: NDArray[np.float64], counts: NDArray[np.int64], part: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    # Within a bucket values lie anywhere; its width is the measure's own grain.
    return resampled_percentile(values, counts, part, BLOCK, 1 / 32, RESAMPLES, rng)


def _interval(value: float, drawn: NDArray[np.float64]) -> dict[str, float]:
    low, high = bounds(drawn)
    return {"value": round(value, 4), "low": round(low, 4), "high": round(high, 4)}


def draw(runs: Sequence[Run]) -> bytes:
    """Return the stages one after the other (medians), and how end to end is distributed, PNG."""
    drawn = figure(10, 3 + 0.4 * len(runs))
    left, right = drawn.subplots(1, 2)
    for i, run in enumerate(runs):
        at = 0.0
        for k, stage in enumerate(STAGES):
            if stage in run.stages:
                width = _percentile(*run.stages[stage], 0.5)
                left.barh(i, width, left=at, color=f"C{k}", label=stage if i == 0 else None)
                at += width
        if "end_to_end" in run.stages:
            values, counts = run.stages["end_to_end"]
            right.plot(values, 1 - np.cumsum(counts) / counts.sum(), drawstyle="steps-post", label=run.name)
    left.set_yticks(range(len(runs)), [run.name for run in runs])
    left.invert_yaxis()
    left.set_xlabel("ms, p50 of each stage")
    left.legend(fontsize="small")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_ylim(1e-4, 1)
    right.set_xlabel("end to end, ms")
    right.set_ylabel("share of frames that took longer")
    right.grid(alpha=0.3)
    right.legend(fontsize="small")
    return png(drawn)
