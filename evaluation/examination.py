"""What runs on a machine and how well: each model on each runtime at each precision, alone and beside a load.

For `doctor --full`: a small network tells a runtime that works from one that does not, the user's own how fast it is.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.images import read_image
from core.machine import gpus, nvidia_smi
from core.progress import Progress, counter, silent
from engine.choice import PICTURE, RUNS, Trial, attempt, candidates
from engine.darknet import random_weights, read_cfg, write_weights
from engine.models import Files, ModelFiles
from engine.runtime import registered
from engine.worker import Job, Worker

SMALL_CFG = """[net]
width=96
height=96
channels=3
[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky
[maxpool]
size=2
stride=2
[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=leaky
[convolutional]
filters=18
size=1
stride=1
activation=linear
[yolo]
mask=0,1,2
anchors=8,8, 16,16, 32,32
classes=1
num=3
"""
SMALL = "a small network"

DISTRIBUTIONS = (
    "numpy", "opencv-python", "opencv-python-headless", "onnx", "openvino", "onnxruntime", "onnxruntime-gpu",
    "onnxruntime-ep-nv-tensorrt-rtx-cu13", "tensorflow", "keras", "tensorrt", "tensorrt-lean", "tensorrt-rtx-cu13-libs",
    "cuda-bindings", "nvidia-cuda-nvrtc", "nvidia-cudnn-cu13", "mss", "vizdoom",
)  # fmt: skip
"""Packages whose versions matter to whoever is asked for help."""


@dataclass(frozen=True)
class Row:
    """How a model ran: milliseconds from frame to boxes alone and beside a load; `reason` where it does not."""

    model: str
    engine: str
    precision: str
    p50_ms: float | None
    loaded_p50_ms: float | None
    error: float | None
    reason: str


def examine(name: str, files: Files, folder: Path, progress: Progress = silent) -> list[Row]:
    """Return a row a model, engine and precision.

    :param name: what the user's own model is called; `files` are its.
    :param folder: an empty one for the small network.
    :raises UserError: the FP32 reference cannot be computed.
    """
    models: list[tuple[str, Files]] = [(SMALL, _small(folder)), (name, files)]
    wanted = {model: candidates(its) for model, its in models}
    count = counter(progress, "engines", sum(map(len, wanted.values())))
    rows: list[Row] = []
    for model, its in models:
        for trial in attempt(its, None, wanted[model], lambda: None):
            rows.append(_row(model, its, trial))
            count()
    return rows


def _row(model: str, files: Files, trial: Trial) -> Row:
    loaded = None
    if trial.good:
        with contextlib.suppress(UserError), busy(), Worker(Job(files, None, trial.engine, trial.precision)) as worker:
            pixels = read_image(PICTURE)
            worker.time(pixels, 3)
            loaded = float(np.median([whole for whole, _ in worker.time(pixels, RUNS)])) / 1e6
    return Row(model, trial.engine, trial.precision, trial.p50_ms, loaded, trial.error, without_paths(trial.reason))


@contextlib.contextmanager
def busy() -> Iterator[None]:
    """Keep one core busy meanwhile, as a game does."""
    load = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        load.kill()
        load.wait()


def lines(rows: list[Row]) -> list[list[str]]:
    """Return the table of the rows as texts."""
    return [
        [
            row.model,
            row.engine,
            row.precision,
            "" if row.p50_ms is None else f"{row.p50_ms:.2f}",
            "" if row.loaded_p50_ms is None else f"{row.loaded_p50_ms:.2f}",
            "" if row.error is None else f"{row.error:.1e}",
            row.reason or "agrees",
        ]
        for row in rows
    ]


def advice(rows: list[Row]) -> list[str]:
    """Return what to install or change, a sentence each."""
    said = [
        f"{name} is not installed: {entry.runtime.install}."
        for name, entry in registered().items()
        if not entry.runtime.installed
    ]
    cards = gpus()
    if not cards:
        said.append(
            "There is no NVIDIA card with a driver (nvidia-smi lists none): engines of CUDA and TensorRT are out."
        )
    elif importlib.util.find_spec("cuda") is None:
        said.append(
            "An NVIDIA card is here and the package cuda-bindings is not: start with `uv run --extra onnx-gpu ...`."
        )
    for row in rows:
        if row.reason and row.model != SMALL:
            said.append(f"{row.engine} at {row.precision}: {row.reason}")
    for row in rows:
        if row.model != SMALL and row.p50_ms and row.loaded_p50_ms and row.loaded_p50_ms > 2 * row.p50_ms:
            said.append(
                f"{row.engine} at {row.precision} takes {row.loaded_p50_ms:.1f} ms in place of {row.p50_ms:.1f} beside "
                "a busy core: give game and loop processors of their own (loop.cpus), or limit the game's frames."
            )
    return list(dict.fromkeys(said))


def report(rows: list[Row], said: list[str]) -> dict[str, Any]:
    """Return what is attached to a question: versions, cards, rows, advice; no name of a person, folder or machine."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cards": _cards(),
        "packages": _packages(),
        "rows": [asdict(row) for row in rows],
        "advice": said,
    }


def without_paths(text: str) -> str:
    """Return a message with the user's home folder written as ~."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text


def _packages() -> dict[str, str]:
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _cards() -> list[str]:
    """Return name, driver, compute capability and memory of each NVIDIA card."""
    query = "--query-gpu=name,driver_version,compute_cap,memory.total"
    return [line.strip() for line in nvidia_smi(query, "--format=csv,noheader") if line.strip()]


def _small(folder: Path) -> ModelFiles:
    cfg, weights = folder / "small.cfg", folder / "small.weights"
    cfg.write_text(SMALL_CFG, encoding="utf-8")
    network = read_cfg(cfg)
    write_weights(weights, network, random_weights(network, 0))
    return ModelFiles(cfg, weights, ("thing",))
