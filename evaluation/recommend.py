"""Which model, size, engine and precision to take: the most accurate that keeps a time on this machine.

Each candidate is timed alone and, where there is one, beside the program that it will run beside; what keeps the budget
at p99 is ranked by accuracy, and the best is run for longer, since the p99 of some hundred frames is a coarse figure.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from core.errors import UserError
from core.precision import Precision
from core.progress import Progress
from engine.models import Files, ModelFiles, identity
from engine.worker import Job, Worker

FIRST = 20
"""Frames after which what is far too slow is given up."""
FAR = 1.5
"""Times the budget, at p50."""
SETTLE_S = 2.0
"""What the other program gets to start."""


@dataclass(frozen=True)
class Candidate:
    """A model at a size, on an engine at a precision."""

    files: Files
    size: tuple[int, int]
    engine: str
    precision: Precision

    @property
    def model(self) -> str:
        """What it is called."""
        return identity(self.files)["name"]


@dataclass(frozen=True)
class Timing:
    """Milliseconds from frame to boxes."""

    p50_ms: float
    p99_ms: float
    frames: int


@dataclass(frozen=True)
class Row:
    """What was found of a candidate; `reason` says why it is out."""

    model: str
    size: tuple[int, int]
    engine: str
    precision: Precision
    alone: Timing | None = None
    beside: Timing | None = None
    ap50: float | None = None
    keeps: bool = False
    reason: str = ""
    plugin: str = "yolo"
    """The detector that runs it."""
    checked: Timing | None = None
    """Of a longer run, of those that were about to be recommended."""

    @property
    def timing(self) -> Timing | None:
        """What the budget is for: beside the other program where there is one."""
        return self.beside or self.alone

    @property
    def contention(self) -> float | None:
        """How many times as long a frame takes beside the other program, at p50."""
        if self.alone is None or self.beside is None:
            return None
        return round(self.beside.p50_ms / self.alone.p50_ms, 2)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "size": list(self.size), "contention": self.contention}


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    :param budget_ms: from frame to boxes, at p99.
    :param beside: the command of a program that runs meanwhile.
    :param frames: that each candidate is timed on.
    :param check_s: how long the best is run before it is recommended.
    """

    budget_ms: float
    beside: str | None = None
    frames: int = 200
    check_s: float = 10.0


@dataclass(frozen=True)
class Recommendation:
    """All rows, and the one to take; None where nothing keeps the budget, or nothing says which is better."""

    rows: list[Row]
    best: Row | None


def recommend(
    candidates: Sequence[Candidate],
    wanted: Wanted,
    pixels: NDArray[np.uint8],
    accuracy: Callable[[Job], float] | None,
    progress: Progress,
) -> Recommendation:
    """Time every candidate, score those that keep the budget, and check the best.

    :param pixels: a frame, which is brought to each network's size.
    :param accuracy: AP50 of an engine, points. Without it there is a recommendation only among precisions and engines
        of one model at one size, where the fastest is taken: which of several models is better nobody can tell.
    :raises UserError: the program beside cannot be started, or ends.
    """
    if wanted.beside is not None:
        with running(wanted.beside):
            pass  # whether it goes on is seen before anything is timed
    rows = []
    for i, candidate in enumerate(candidates):
        progress(f"timing {candidate.model} {candidate.engine} {candidate.precision}", i, len(candidates))
        rows.append(_timed(candidate, wanted, pixels))
    if accuracy is not None:
        for i, row in enumerate(rows):
            if row.keeps:
                progress(f"accuracy of {row.model} {row.engine} {row.precision}", i, len(rows))
                rows[i] = replace(row, ap50=accuracy(_job(candidates[i])))
    return _checked(rows, candidates, wanted, pixels, progress)


def _job(candidate: Candidate) -> Job:
    return Job(candidate.files, candidate.size, candidate.engine, candidate.precision)


def _timed(candidate: Candidate, wanted: Wanted, pixels: NDArray[np.uint8]) -> Row:
    plugin = "yolo" if isinstance(candidate.files, ModelFiles) else "onnx"
    row = Row(candidate.model, candidate.size, candidate.engine, candidate.precision, plugin=plugin)
    frame = cv2.resize(pixels, candidate.size, interpolation=cv2.INTER_AREA)
    try:
        with Worker(_job(candidate)) as worker:
            row = replace(row, alone=_time(worker, frame, wanted))
            if wanted.beside is not None and not _far(row.alone, wanted):
                with running(wanted.beside):
                    row = replace(row, beside=_time(worker, frame, wanted))
    except UserError as error:
        return replace(row, reason=str(error))
    timing = row.timing
    keeps = timing is not None and timing.p99_ms <= wanted.budget_ms and not _far(row.alone, wanted)
    return replace(row, keeps=keeps, reason="" if keeps else "over the budget")


def _time(worker: Worker, frame: NDArray[np.uint8], wanted: Wanted) -> Timing:
    times = [whole for whole, _ in worker.time(frame, FIRST + 1)[1:]]
    if np.median(times) / 1e6 <= FAR * wanted.budget_ms:
        while len(times) < wanted.frames:
            times += [whole for whole, _ in worker.time(frame, min(FIRST, wanted.frames - len(times)))]
    return _summary(times)


def _summary(times: Sequence[int]) -> Timing:
    milliseconds = np.array(times) / 1e6
    p50, p99 = (round(float(np.percentile(milliseconds, q)), 3) for q in (50, 99))
    return Timing(p50, p99, len(times))


def _far(timing: Timing | None, wanted: Wanted) -> bool:
    return timing is None or timing.p50_ms > FAR * wanted.budget_ms


def _checked(
    rows: list[Row],
    candidates: Sequence[Candidate],
    wanted: Wanted,
    pixels: NDArray[np.uint8],
    progress: Progress,
) -> Recommendation:
    """Run the best for longer; where it does not keep the budget then, the next best."""
    comparable = len({(row.model, row.size) for row in rows}) == 1
    while True:
        left = [i for i, row in enumerate(rows) if row.keeps and (row.ap50 is not None or comparable)]
        if not left:
            return Recommendation(rows, None)
        best = max(left, key=lambda i: _rank(rows[i]))
        row = rows[best]
        progress(f"checking {row.model} {row.engine} {row.precision} for {wanted.check_s:g} s", 0, 0)
        frame = cv2.resize(pixels, row.size, interpolation=cv2.INTER_AREA)
        beside = contextlib.nullcontext() if wanted.beside is None else running(wanted.beside)
        with Worker(_job(candidates[best])) as worker, beside:
            times: list[int] = []
            end = time.monotonic() + wanted.check_s
            while time.monotonic() < end or len(times) < FIRST:
                times += [whole for whole, _ in worker.time(frame, FIRST)]
        timing = _summary(times)
        rows[best] = row = replace(row, checked=timing)
        if timing.p99_ms <= wanted.budget_ms:
            return Recommendation(rows, row)
        rows[best] = replace(row, keeps=False, reason=f"over the budget in a run of {wanted.check_s:g} s")


def _rank(row: Row) -> tuple[float, float]:
    """Return what a candidate is ranked by: accuracy to a tenth of a point, then speed."""
    assert row.timing is not None
    return round(row.ap50 or 0.0, 1), -row.timing.p50_ms


@contextlib.contextmanager
def running(command: str) -> Iterator[None]:
    """Run a program meanwhile, and end it with all that it has started.

    :raises UserError: it cannot be started, or has ended by itself before it was no longer needed.
    """
    process = subprocess.Popen(
        command,
        shell=True,  # as the user would type it
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(SETTLE_S)
        _check_running(process, command)
        yield
        _check_running(process, command)
    finally:
        with contextlib.suppress(psutil.Error):
            whole = psutil.Process(process.pid)
            for each in (*whole.children(recursive=True), whole):
                with contextlib.suppress(psutil.Error):
                    each.kill()
        process.wait()


def _check_running(process: subprocess.Popen[bytes], command: str) -> None:
    if process.poll() is not None:
        raise UserError(
            f'the program to run beside, "{command}", ended with status {process.returncode} while it was needed; give '
            "one that goes on"
        )


def profile_lines(row: Row) -> str:
    """Return what to write in a profile."""
    size = str(row.size[0]) if row.size[0] == row.size[1] else f"[{row.size[0]}, {row.size[1]}]"
    return (
        f"detector:\n  plugin: {row.plugin}\n  model: {row.model}\n  size: {size}\n  engine: {row.engine}\n"
        f"  precision: {row.precision}\n"
    )
