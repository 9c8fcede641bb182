"""Speed: every engine and precision there is, in turn in one run, beside its accuracy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.progress import Progress
from engine.models import Files
from engine.worker import Job, Worker
from evaluation import figures

BASELINE = ("tensorflow", "fp32")
ROUND = 20
"""Frames that make a round: how far the medians of rounds lie apart says how quiet the machine was."""
BURST = 5
"""Frames in a turn. The first is not counted: ONNX Runtime's threads spin on for a moment after their turn."""


@dataclass
class Row:
    """One engine at one size. Times are from frame to boxes; `network_p50_ms` is the network alone."""

    engine: str
    precision: str
    size: int
    p50_ms: float
    p99_ms: float
    fps: float
    network_p50_ms: float
    description: str = ""
    ratio_to_tensorflow: float | None = None
    ap50: float | None = None
    round_p50_ms: tuple[float, float] | None = None
    """The medians of the fastest and the slowest round of some 20 frames, the outermost tenth left out."""


@dataclass(frozen=True)
class Result:
    """The rows, and what could not be measured, with the reason."""

    rows: list[Row]
    failed: list[tuple[str, str, int, str]]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as docs/reports.md describes it."""
        keys = ("engine", "precision", "size", "reason")
        return {
            "rows": [asdict(row) for row in self.rows],
            "failed": [dict(zip(keys, failure, strict=True)) for failure in self.failed],
        }


def bench(
    files: Files,
    wanted: Sequence[tuple[str, Any]],
    sizes: Sequence[tuple[int, int]],
    pixels: NDArray[np.uint8],
    runs: int,
    progress: Progress,
    accuracy: Callable[[Job], float] | None = None,
) -> Result:
    """Time engines in turn, a few frames each and round again, so that a busy moment strikes all alike.

    :param sizes: the network's inputs, width and height.
    :param pixels: the frame; it is brought to the network's size first, as a region of that size would come.
    :param accuracy: AP50 of an engine, points; None leaves it out.
    """
    result = Result([], [])
    for size in sizes:
        side = size[0]
        frame = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        workers = []
        for i, (engine, precision) in enumerate(wanted):
            progress(f"loading {engine} {precision}", i, len(wanted))
            try:
                workers.append(Worker(Job(files, size, engine, precision)))
            except UserError as error:
                result.failed.append((engine, precision, side, str(error)))
        try:
            times = _in_turn(workers, frame, runs, lambda done: progress("timing, each in turn", done, runs))
        finally:
            for worker in workers:
                worker.close()
        rows = []
        for worker, measured in zip(workers, times, strict=True):
            if isinstance(measured, UserError):
                result.failed.append((worker.job.engine, worker.job.precision, side, str(measured)))
                continue
            rows.append(_row(worker, side, np.array(measured, np.float64) / 1e6))
        _compare(rows)
        if accuracy is not None:
            for i, row in enumerate(rows):
                progress(f"accuracy of {row.engine} {row.precision}", i, len(rows))
                row.ap50 = accuracy(Job(files, size, row.engine, row.precision))  # type: ignore[arg-type]
        result.rows.extend(rows)
    return result


def _in_turn(
    workers: list[Worker], pixels: NDArray[np.uint8], runs: int, done: Callable[[int], None]
) -> list[list[tuple[int, int]] | UserError]:
    times: list[Any] = [[] for _ in workers]
    while any(isinstance(measured, list) and len(measured) < runs for measured in times):
        for i, worker in enumerate(workers):
            if isinstance(times[i], UserError):
                continue
            try:
                times[i] += worker.time(pixels, BURST)[1:]
            except UserError as error:
                times[i] = error
        done(min(runs, max((len(measured) for measured in times if isinstance(measured, list)), default=runs)))
    return times


def _row(worker: Worker, size: int, times: NDArray[np.float64]) -> Row:
    whole, network = times[:, 0], times[:, 1]
    p50 = float(np.median(whole))
    rounds = [float(np.median(part)) for part in np.array_split(whole, max(1, len(whole) // ROUND))]
    low, high = np.percentile(rounds, (10, 90))
    row = Row(
        worker.job.engine,
        worker.job.precision,
        size,
        round(p50, 3),
        round(float(np.percentile(whole, 99)), 3),
        round(1e3 / p50, 1),
        round(float(np.median(network)), 3),
        worker.description,
    )
    row.round_p50_ms = (round(float(low), 3), round(float(high), 3))
    return row


def _compare(rows: list[Row]) -> None:
    base = next((row.p50_ms for row in rows if (row.engine, row.precision) == BASELINE), None)
    for row in rows:
        row.ratio_to_tensorflow = None if base is None else round(base / row.p50_ms, 2)


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    return figures.markdown(HEADS, [["" if cell is None else cell for cell in cells(row)] for row in rows])


HEADS = (
    "engine",
    "precision",
    "size",
    "p50 ms",
    "of rounds",
    "p99 ms",
    "FPS",
    "network p50 ms",
    "times TensorFlow",
    "AP50",
)


def cells(row: Row) -> list[str | None]:
    """Return a row's cells under HEADS; None where there is nothing."""
    ratio = None if row.ratio_to_tensorflow is None else f"{row.ratio_to_tensorflow:.2f}"
    ap50 = None if row.ap50 is None else f"{row.ap50:.2f}"
    rounds = "" if row.round_p50_ms is None else " to ".join(f"{time:.1f}" for time in row.round_p50_ms)
    return [
        row.engine, row.precision, str(row.size), f"{row.p50_ms:.2f}", rounds, f"{row.p99_ms:.2f}", f"{row.fps:.1f}",
        f"{row.network_p50_ms:.2f}", ratio, ap50,
    ]  # fmt: skip


def draw(rows: Sequence[Row], model: str) -> bytes:
    """Return a PNG: speed against accuracy, or speed alone where accuracy was not measured.

    :param model: its name, for the title.
    """
    drawn = figures.figure(9, 5.5)
    axes = drawn.add_subplot()
    from matplotlib.patches import Patch

    colours = {"fp32": "tab:blue", "fp16": "tab:orange", "int8": "tab:green"}
    if all(row.ap50 is not None for row in rows):
        for row in rows:
            axes.scatter(row.fps, row.ap50 or 0, s=60, color=colours[row.precision])
            label = f"{row.engine} {row.precision}" + f" {row.size}"
            axes.annotate(label, (row.fps, row.ap50 or 0), xytext=(6, 4), textcoords="offset points", fontsize=8)
        axes.set(xlabel="frames a second", ylabel="AP50, points")
    else:
        ordered = sorted(rows, key=lambda row: row.fps)
        labels = [f"{row.engine} {row.precision}" + f" {row.size}" for row in ordered]
        bars = axes.barh(labels, [row.fps for row in ordered], color=[colours[row.precision] for row in ordered])
        axes.bar_label(bars, [f"{row.p50_ms:.1f} ms" for row in ordered], padding=3, fontsize=8)
        axes.set(xlabel="frames a second")
    handles = [Patch(color=colour) for colour in colours.values()]
    axes.legend(handles, colours, loc="best")
    axes.set_title(f"{model}: from frame to boxes")
    axes.grid(alpha=0.3)
    return figures.png(drawn, 120)
