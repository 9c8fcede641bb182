"""An engine in a process of its own: tried without risk, and timed beside others in turn.

A broken driver can take its process with it, and a run whose engine is another must never import TensorFlow. So
whoever tries or compares engines holds each of them here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError
from core.geometry import Resize
from core.precision import Precision
from core.workers import shielded
from engine.boxes import Rows
from engine.models import Files
from engine.pipeline import Where

START_S = 600.0
"""How long an engine may take to load: a large network's TensorRT or XLA build takes minutes."""
STEP_S = 300.0


@dataclass(frozen=True)
class Job:
    """Which engine a worker is to hold."""

    files: Files
    size: tuple[int, int] | None
    engine: str
    precision: Precision
    confidence: float = 0.25
    where: Where = "auto"
    resize: Resize | Literal["auto"] = "auto"


class Worker:
    """A process that holds one engine.

    :raises UserError: the engine cannot be loaded, said in one sentence.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, job), daemon=True)
        with shielded():
            self._process.start()
        theirs.close()
        self._asked = False
        try:
            self.description: str = self._answer(START_S)
        except BaseException:  # an interrupt while it loads
            self._process.kill()
            raise
        """What the engine says of itself; see `Engine.description`."""

    def outputs(self, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """Return copies of the network's outputs for a frame, uint8 (height, width, 3) BGR."""
        return self._ask("outputs", pixels)

    def rows(self, pixels: NDArray[np.uint8]) -> Rows:
        """Return the boxes in a frame."""
        return self._ask("rows", pixels)

    def time(self, pixels: NDArray[np.uint8], runs: int = 1) -> list[tuple[int, int]]:
        """Return for each run the nanoseconds from frame to boxes, and those of the network alone."""
        return self._ask("time", (pixels, runs))

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(0 if self._asked else 5)  # one that still computes does not hear that nobody listens
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, what: str, argument: Any) -> Any:
        self._asked = True
        try:
            self._pipe.send((what, argument))
        except OSError:
            raise self._gone() from None
        answer = self._answer(STEP_S)
        self._asked = False
        return answer

    def _answer(self, timeout_s: float) -> Any:
        try:
            if not self._pipe.poll(timeout_s):
                self._process.kill()
                raise UserError(f"the engine {self.job.engine} did not answer within {timeout_s:.0f} s")
            good, value = self._pipe.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        if not good:
            raise UserError(value)
        return value

    def _gone(self) -> UserError:
        self._process.join(5)
        return UserError(f"the engine {self.job.engine} ended its process (exit status {self._process.exitcode})")


def _serve(pipe: Any, job: Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is its master's, who then ends it
    # Runtimes write to the terminal whatever they please; what matters comes back through the pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        from engine.models import load
        from engine.pipeline import Pipeline

        model, _ = load(job.files, job.size)
        pipeline: Any = Pipeline(
            model,
            job.engine,
            job.precision,
            job.confidence,
            resize=job.resize,
            where=job.where,
        )
        pipe.send((True, pipeline.engine.description))
    except UserError as error:
        pipe.send((False, str(error)))
        return
    except Exception as error:  # whatever a runtime raises while it loads
        pipe.send((False, f"the engine {job.engine} cannot be loaded: {_short(error)}"))
        return
    while True:
        try:
            what, argument = pipe.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        try:
            pipe.send((True, _DO[what](pipeline, argument)))
        except Exception as error:  # the same, while it runs
            pipe.send((False, f"the engine {job.engine} failed: {_short(error)}"))


def _outputs(pipeline: Any, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    pipeline.prepare(pixels)
    return [np.ascontiguousarray(output) for output in pipeline.infer()]


def _time(pipeline: Any, argument: tuple[NDArray[np.uint8], int]) -> Sequence[tuple[int, int]]:
    pixels, runs = argument
    times = []
    for _ in range(runs):
        start = time.perf_counter_ns()
        pipeline.prepare(pixels)
        prepared = time.perf_counter_ns()
        outputs = pipeline.infer()
        inferred = time.perf_counter_ns()
        pipeline.boxes(outputs)
        times.append((time.perf_counter_ns() - start, inferred - prepared))
    return times


_DO: dict[str, Callable[[Any, Any], Any]] = {
    "outputs": _outputs,
    "rows": lambda pipeline, pixels: pipeline.run(pixels),
    "time": _time,
}


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
