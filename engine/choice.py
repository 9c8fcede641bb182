"""`engine: auto`: of what is installed, the fastest engine that agrees with the FP32 reference.

Each candidate is loaded in a process of its own, run on a stored picture, compared with OpenVINO in float32 (where that
is not installed, with ONNX Runtime on the processor or TensorFlow), and timed. One that fails or disagrees is passed
over, with a sentence; the fastest few are then timed in turn, since a busy moment strikes one candidate alone where
each is timed by itself. The choice is remembered under a key of the model, the hardware and the versions, so that only
the first run of a model on a machine pays for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from core.errors import UserError
from core.files import cache_folder, sha256, write_atomically
from core.images import read_image
from core.machine import hardware
from core.precision import PRECISIONS, Precision
from core.text import read_json, validated
from engine.darknet import Network
from engine.distance import distance
from engine.engine import AUTO, Model
from engine.models import Files, OnnxFiles
from engine.runtime import find_runtime, registered
from engine.worker import Job, Worker

if TYPE_CHECKING:
    from engine.onnx_network import OnnxNetwork

PICTURE = Path(__file__).with_name("check.jpg")
"""A scene of Doom, drawn by ViZDoom with Freedoom's assets."""
TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.05, "int8": 0.2}
"""How far the heads may be from the reference's: the norm of the difference over the norm. Measured on yolov4-tiny:
float32 1e-6, bfloat16 0.01, INT8 0.03; INT8 that a runtime computes wrongly 0.36."""
RUNS = 15
FINALISTS, ROUNDS, RUNS_A_ROUND = 3, 6, 5
SETTLING_RUNS = 5
"""Runs before the one that is compared. What is wrong may add up from run to run and be small in the first: so it was
with INT8 and the biases that ONNX Runtime 1.31 fuses on CUDA."""
REFERENCES = ("openvino", "onnx:cpu", "tensorflow")
"""In float32, the first that is installed is what the others are compared with."""

log = logging.getLogger("reticle")


@dataclass(frozen=True)
class Trial:
    """How a candidate fared: `p50_ms` from frame to boxes, `error` against the reference; or why it is out."""

    engine: str
    precision: Precision
    description: str = ""
    p50_ms: float | None = None
    error: float | None = None
    reason: str = ""

    @property
    def good(self) -> bool:
        """Whether it ran and agrees."""
        return not self.reason


def candidates(files: Files | Model) -> list[tuple[str, Precision]]:
    """Return the engines and precisions that are worth trying here, the reference first."""
    found: list[tuple[str, Precision]] = []
    for entry in registered().values():
        runtime = entry.runtime
        if runtime.darknet_only and isinstance(files, OnnxFiles):
            continue
        for name in runtime.engines():
            for precision in runtime.precisions:
                needed = runtime.needs(precision)
                if needed is None or needed in files.sha256:  # else conversion has not made it
                    found.append((name, precision))
    reference = (_reference(files), "fp32")
    return sorted(found, key=lambda pair: (pair != reference, PRECISIONS.index(pair[1])))


def _reference(files: Files | Model) -> str:
    """Return the engine that the others are compared with in float32: the first of `REFERENCES` that can run this."""
    runtimes = [entry.runtime for entry in registered().values()]
    able = [runtime for runtime in runtimes if not (runtime.darknet_only and isinstance(files, OnnxFiles))]
    there = {name for runtime in able for name in runtime.engines()}
    return next((name for name in REFERENCES if name in there), REFERENCES[0])


def attempt(
    files: Files, size: tuple[int, int] | None, wanted: list[tuple[str, Precision]], done: Callable[[], None]
) -> Iterator[Trial]:
    """Try candidates one after the other; the reference is tried first even where it is not among them.

    :param done: called after each.
    :raises UserError: the reference cannot be computed, or the stored picture is gone.
    """
    pixels = read_image(PICTURE)
    network = files.network(size)
    with Worker(Job(files, size, _reference(files), "fp32", where="host")) as worker:
        reference = worker.outputs(pixels)
    for engine, precision in wanted:
        yield _try(Job(files, size, engine, precision), network, pixels, reference)
        done()


def _try(
    job: Job, network: Network | OnnxNetwork, pixels: NDArray[np.uint8], reference: list[NDArray[np.float32]]
) -> Trial:
    try:
        times: list[int] = []
        with Worker(_on_host(job)) as worker:
            for _ in range(SETTLING_RUNS):
                worker.outputs(pixels)
            error = _difference(network, worker.outputs(pixels), reference)
            description = worker.description
            if not find_runtime(job.engine).reads_onnx:  # then nothing but the network is ever in its graph
                times = _timed(worker, pixels)
        if not error <= TOLERANCE[job.precision]:
            return Trial(
                job.engine, job.precision, description, None, error,
                f"disagrees with the FP32 reference by {error:.2g}, more than {TOLERANCE[job.precision]:g}",
            )  # fmt: skip
        if not times:
            with Worker(job) as worker:
                times = _timed(worker, pixels)
    except UserError as failure:
        return Trial(job.engine, job.precision, reason=str(failure))
    return Trial(job.engine, job.precision, description, float(np.median(times)) / 1e6, error)


def _timed(worker: Worker, pixels: NDArray[np.uint8]) -> list[int]:
    worker.time(pixels, 3)
    return [whole for whole, _ in worker.time(pixels, RUNS)]


def _on_host(job: Job) -> Job:
    """Return the job with raw heads, which alone can be compared."""
    return Job(job.files, job.size, job.engine, job.precision, job.confidence, "host", job.resize)


def _difference(
    network: Network | OnnxNetwork, outputs: list[NDArray[np.float32]], reference: list[NDArray[np.float32]]
) -> float:
    """Return how far outputs are from the reference's: by the raw heads, or by what a layout makes of them."""
    if isinstance(network, Network):
        return difference(outputs, reference)
    if [each.shape for each in outputs] != [each.shape for each in reference]:
        return float("inf")
    given, expected = (network.layout.table(each) for each in (outputs, reference))
    if network.family.ordered:  # boxes are in pixels, scores from 0 to 1: each for itself
        return max(difference([a], [b]) for a, b in zip(given, expected, strict=True))
    error, scores = distance(expected, given, ordered=False)
    return error / max(scores, 1.0)


def difference(outputs: list[NDArray[np.float32]], reference: list[NDArray[np.float32]]) -> float:
    """Return how far heads are from others: the norm of the difference over the norm."""
    flat = np.concatenate([x.ravel() for x in outputs]).astype(np.float64)
    expected = np.concatenate([x.ravel() for x in reference]).astype(np.float64)
    if flat.shape != expected.shape:
        return float("inf")
    error = float(np.linalg.norm(flat - expected)) / max(float(np.linalg.norm(expected)), 1e-12)
    return error if np.isfinite(error) else float("inf")


def side_by_side(files: Files, size: tuple[int, int] | None, trials: list[Trial]) -> list[Trial]:
    """Return the few fastest of those that agree, the fastest first, timed again: a few frames each, in rounds.

    :raises UserError: the stored picture is gone.
    """
    best = sorted((t for t in trials if t.good), key=lambda t: t.p50_ms or 0.0)[:FINALISTS]
    if len(best) < 2:
        return best
    pixels = read_image(PICTURE)
    try:
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(Worker(Job(files, size, t.engine, t.precision))) for t in best]
            times: list[list[int]] = [[] for _ in best]
            for _ in range(ROUNDS):
                for worker, kept in zip(workers, times, strict=True):
                    worker.time(pixels, 1)  # the others' threads spin on for a moment
                    kept += [whole for whole, _ in worker.time(pixels, RUNS_A_ROUND)]
    except UserError as error:  # together they may be too much for a small machine
        log.warning("the fastest engines could not be timed side by side: %s", error)
        return best
    again = [replace(t, p50_ms=float(np.median(kept)) / 1e6) for t, kept in zip(best, times, strict=True)]
    return sorted(again, key=lambda t: t.p50_ms or 0.0)


def resolve(engine: str, model: Model, precision: str) -> tuple[str, Precision]:
    """Return the engine and precision to run: those named, or for `auto` the ones remembered or found now.

    What is tried, and each candidate that is passed over, is logged.

    :raises UserError: none works, or the model has no file of its weights to hand to the trials.
    """
    if engine != AUTO:
        return engine, "fp32" if precision == "auto" else precision  # type: ignore[return-value]
    files, network = model.files, model.network
    if files is None:
        raise UserError("engine: auto needs a model in files; name an engine")
    size = (network.width, network.height)
    key = _key(files, size, precision)
    remembered = _read().get(key)
    if remembered is not None and _known(remembered):
        return remembered.engine, remembered.precision
    wanted = [pair for pair in candidates(files) if precision in ("auto", pair[1])]
    listed = ", ".join(f"{name} {kind}" for name, kind in wanted)
    log.info("trying which engine runs %s fastest here, once: %s", model.folder or network.path, listed)
    trials = list(attempt(files, size, wanted, lambda: None))
    for trial in trials:
        if not trial.good:
            log.warning("%s at %s is passed over: %s", trial.engine, trial.precision, trial.reason)
    best = next(iter(side_by_side(files, size, trials)), None)
    if best is None:
        raise UserError(f"no engine works for {network.path}; `doctor` says why")
    remember(key, best)
    return best.engine, best.precision


def remember(key: str, best: Trial) -> None:
    """Keep a choice; a cache that cannot be written is no error."""
    kept = {name: choice.model_dump() for name, choice in _read().items()}
    kept[key] = {"engine": best.engine, "precision": best.precision}
    with contextlib.suppress(UserError):
        write_atomically(_cache(), json.dumps(kept, indent=2) + "\n")


class _Remembered(BaseModel):
    """A choice as the cache keeps it."""

    engine: str
    precision: Precision


def _read() -> dict[str, _Remembered]:
    """Return the choices that the cache remembers; one that cannot be read is as good as none."""
    what = "the cache of engines"
    try:
        found: dict[str, _Remembered] = validated(dict[str, _Remembered], read_json(_cache(), what), _cache(), what)
    except UserError:
        return {}
    return found


def _known(remembered: _Remembered) -> bool:
    """Tell whether there is such an engine: the file may be another program's, or damaged."""
    try:
        return remembered.precision in find_runtime(remembered.engine).precisions
    except UserError:
        return False


def _cache() -> Path:
    return cache_folder() / "engines.json"


def _key(files: Files, size: tuple[int, int], precision: str) -> str:
    """Return what a choice is remembered under; made without importing a runtime."""
    hashes = dict(files.sha256) or {path.name: sha256(path) for path in files.base.values()}
    runtimes = [entry.runtime for entry in registered().values()]
    versions = {runtime.name: runtime.versions() for runtime in runtimes if runtime.installed}
    parts = [hashes, size, precision, versions, hardware()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
