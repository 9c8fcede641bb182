"""`engine: auto`: of what is installed, the fastest engine that agrees with the FP32 reference.

Each candidate is loaded in a process of its own, run on a stored picture, compared with OpenVINO in float32, and timed.
One that fails or disagrees is passed over, with a sentence. The choice is remembered under a key of the model, the
hardware and the versions, so that only the first run of a model on a machine pays for it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.engine import AUTO, ENGINES, PRECISIONS, Model, Precision, installed
from engine.errors import ModelError
from engine.files import cache, sha256, write
from engine.graphs import FILES
from engine.models import ModelFiles
from engine.tensorrt_engine import engine_name
from engine.worker import Job, Worker

PICTURE = Path(__file__).with_name("check.jpg")
"""A scene of Doom, drawn by ViZDoom with Freedoom's assets."""
TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.05, "int8": 0.2}
"""How far the heads may be from the reference's: the norm of the difference over the norm. Measured on yolov4-tiny:
float32 1e-6, bfloat16 0.01, INT8 0.03; INT8 that a runtime computes wrongly 0.36."""
RUNS = 15
REFERENCE: tuple[str, Precision] = ("openvino", "fp32")


@dataclass(frozen=True)
class Trial:
    """How a candidate fared: `p50_ms` from frame to boxes, `error` against the reference; or why it is out."""

    engine: str
    precision: Precision
    about: str = ""
    p50_ms: float | None = None
    error: float | None = None
    reason: str = ""

    @property
    def good(self) -> bool:
        """Whether it ran and agrees."""
        return not self.reason


def candidates(files: ModelFiles | Model) -> list[tuple[str, Precision]]:
    """Return the engines and precisions that are worth trying here, the reference first."""
    found: list[tuple[str, Precision]] = []
    for name in _devices():
        base = name.partition(":")[0]
        for precision in ENGINES[base].precisions:
            needed = engine_name(base, precision) if base.startswith("tensorrt") else FILES["int8-uint8"]
            if needed not in files.sha256 and (precision == "int8" or base.startswith("tensorrt")):
                continue  # conversion has not made it
            found.append((name, precision))
    return sorted(found, key=lambda pair: (pair != REFERENCE, PRECISIONS.index(pair[1])))


def attempt(
    files: ModelFiles, size: tuple[int, int] | None, wanted: list[tuple[str, Precision]], done: Callable[[], None]
) -> Iterator[Trial]:
    """Try candidates one after the other; the reference is tried first even where it is not among them.

    :param done: called after each.
    :raises ModelError: the reference cannot be computed, or the stored picture is gone.
    """
    picture = cv2.imread(str(PICTURE), cv2.IMREAD_COLOR)
    if picture is None:
        raise ModelError(f"{PICTURE}: the picture that engines are checked with is missing; clone the project again")
    pixels: NDArray[np.uint8] = picture
    with Worker(Job(files, size, *REFERENCE, where="host")) as worker:
        reference = worker.outputs(pixels)
    for engine, precision in wanted:
        yield _try(Job(files, size, engine, precision), pixels, reference)
        done()


def _try(job: Job, pixels: NDArray[np.uint8], reference: list[NDArray[np.float32]]) -> Trial:
    try:
        with Worker(_on_host(job)) as worker:
            error = difference(worker.outputs(pixels), reference)
            about = worker.about
        if not error <= TOLERANCE[job.precision]:
            return Trial(
                job.engine, job.precision, about, None, error,
                f"disagrees with the FP32 reference by {error:.2g}, more than {TOLERANCE[job.precision]:g}",
            )  # fmt: skip
        with Worker(job) as worker:
            worker.time(pixels, 3)
            times = [whole for whole, _ in worker.time(pixels, RUNS)]
    except ModelError as failure:
        return Trial(job.engine, job.precision, reason=str(failure))
    return Trial(job.engine, job.precision, about, float(np.median(times)) / 1e6, error)


def _on_host(job: Job) -> Job:
    """Return the job with raw heads, which alone can be compared."""
    return Job(job.files, job.size, job.engine, job.precision, job.confidence, "host", job.resize)


def difference(outputs: list[NDArray[np.float32]], reference: list[NDArray[np.float32]]) -> float:
    """Return how far heads are from others: the norm of the difference over the norm."""
    flat = np.concatenate([x.ravel() for x in outputs]).astype(np.float64)
    expected = np.concatenate([x.ravel() for x in reference]).astype(np.float64)
    if flat.shape != expected.shape:
        return float("inf")
    error = float(np.linalg.norm(flat - expected)) / max(float(np.linalg.norm(expected)), 1e-12)
    return error if np.isfinite(error) else float("inf")


def fastest(trials: list[Trial]) -> Trial | None:
    """Return the fastest that agrees."""
    return min((t for t in trials if t.good), key=lambda t: t.p50_ms or 0.0, default=None)


def resolve(
    engine: str, model: Model, precision: str, say: Callable[[str], None] | None = None
) -> tuple[str, Precision]:
    """Return the engine and precision to run: those named, or for `auto` the ones remembered or found now.

    :param say: told what is tried, and of each candidate that is passed over.
    :raises ModelError: none works, or the model has no file of its weights to hand to the trials.
    """
    if engine != AUTO:
        return engine, "fp32" if precision == "auto" else precision  # type: ignore[return-value]
    if not isinstance(model.weights, Path):
        raise ModelError("engine: auto needs a model in files; name an engine")
    network = model.network
    cfg = Path(network.path)
    files = ModelFiles(cfg, model.weights, None, None, model.folder, model.sha256)
    size = (network.width, network.height)
    wanted = [pair for pair in candidates(files) if precision in ("auto", pair[1])]
    key = _key(files, size, wanted)
    remembered = _read().get(key)
    if remembered is not None:
        return remembered["engine"], remembered["precision"]  # type: ignore[return-value]
    if say is not None:
        listed = ", ".join(f"{name} {kind}" for name, kind in wanted)
        say(f"trying which engine runs {model.folder or cfg} fastest here, once: {listed}")
    trials = list(attempt(files, size, wanted, lambda: None))
    for trial in trials:
        if not trial.good and say is not None:
            say(f"{trial.engine} at {trial.precision} is passed over: {trial.reason}")
    best = fastest(trials)
    if best is None:
        raise ModelError(f"no engine works for {cfg}; `doctor` says why")
    remember(key, best)
    return best.engine, best.precision


def remember(key: str, best: Trial) -> None:
    """Keep a choice; a cache that cannot be written is no error."""
    with contextlib.suppress(ModelError):
        write(_cache(), (json.dumps({**_read(), key: asdict(best)}, indent=2) + "\n").encode())


def _read() -> dict[str, dict[str, str]]:
    try:
        return dict(json.loads(_cache().read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def _cache() -> Path:
    return cache() / "engines.json"


def _key(files: ModelFiles, size: tuple[int, int], wanted: list[tuple[str, Precision]]) -> str:
    hashes = dict(files.sha256) or {path.name: sha256(path) for path in (files.cfg, files.weights)}
    versions = {}
    for package in ("openvino", "onnxruntime", "onnxruntime-gpu", "tensorflow", "tensorrt", "tensorrt-rtx", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    parts = [hashes, size, wanted, versions, hardware()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@functools.cache
def hardware() -> list[str]:
    """Return the processor's name and number, and the names of NVIDIA's cards."""
    name = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    found = [f"{name} x{os.cpu_count()}"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True)
        found += [line.split(" (UUID")[0] for line in answer.stdout.splitlines()]
    return found


def _devices() -> Iterator[str]:
    """Yield the engines installed here, one for each device that they find."""
    for name in ENGINES:
        if not installed(name):
            continue
        if name == "openvino":
            import openvino

            kinds = {device.split(".")[0].lower() for device in openvino.Core().available_devices}
            yield name
            yield from (f"{name}:{device}" for device in ("gpu", "npu") if device in kinds)
        elif name == "onnx":
            import onnxruntime

            from engine.onnx_engine import PROVIDERS

            available = onnxruntime.get_available_providers()
            yield from (f"{name}:{device}" for device, provider in PROVIDERS.items() if provider in available)
        elif name == "tensorflow":
            yield from (name, f"{name}:xla")
        else:
            yield name
