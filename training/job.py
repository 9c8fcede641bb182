"""A training from files: the cfg fitted to the classes, the weights to begin with, the pictures read, the fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.files import write_atomically
from core.progress import Progress
from engine.darknet import Network, Weights, parse_cfg, read_cfg, read_weights
from engine.models import ModelFiles, find_darknet, names_of
from training import anchors
from training.fit import Epoch, Measure, Plan, Score, first_weights, fit
from training.samples import Annotated, read
from training.transfer import transferred


@dataclass(frozen=True)
class Job:
    """What to train: a cfg, whose classes become `names`, and a model whose weights begin (None: random ones)."""

    cfg: Path
    begin: str | None
    size: tuple[int, int] | None
    anchors: bool
    names: tuple[str, ...]


def run(
    job: Job,
    plan: Plan,
    records: Sequence[Annotated],
    scored: Sequence[Annotated],
    measure: Measure,
    folder: Path,
    progress: Progress,
    done: Callable[[Epoch | Score], None],
) -> tuple[ModelFiles, Score | None, list[Epoch]]:
    """Train; return the files of the best network, what it began with scores, and the history.

    :param folder: for what an interrupted training needs to go on.
    :raises UserError: a file is wrong, or the training cannot be done.
    """
    text = with_classes(job.cfg, len(job.names))
    network = parse_cfg(text, str(job.cfg), job.size)
    size = (network.width, network.height)
    text = _with_size(text, size)
    pictures = read(records, size, lambda done: progress("reading", done, len(records)))
    held_out = read(scored, size, lambda done: progress("reading what is held out", done, len(scored)))
    if job.anchors:
        count = max(i for head in network.heads for i in _mask(network, head.index)) + 1
        text = anchors.with_anchors(text, anchors.find(pictures, count))
    network = parse_cfg(text, str(job.cfg))
    start = _begin(job.begin, network, job.names, plan.seed) if job.begin is not None else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from error
    write_atomically(folder / "network.cfg", text.encode())
    first, history = fit(network, start, pictures, held_out, measure, plan, folder, progress, done)
    return ModelFiles(folder / "network.cfg", folder / "best.weights", job.names), first, history


def with_classes(path: Path, classes: int) -> str:
    """Return a cfg's text for another number of classes: in each [yolo], and the filters of what leads to it.

    :raises UserError: it cannot be read.
    """
    network = read_cfg(path)
    lines = network.text.splitlines()
    for head in network.heads:
        (source,) = network.layers[head.index].inputs
        _set(lines, network.layers[head.index].section.line, "classes", classes)
        if network.layers[source].convolution is None:
            raise UserError(f"{path}: the layer before a [yolo] is no convolution, so its classes cannot be changed")
        _set(lines, network.layers[source].section.line, "filters", len(head.anchors) * (5 + classes))
    return "\n".join(lines) + "\n"


def _set(lines: list[str], section: int, key: str, value: int) -> None:
    """Set an option of the section that begins in a line, counted from 1."""
    for i in range(section, len(lines)):
        if lines[i].lstrip().startswith("["):
            break
        if re.match(rf"\s*{key}\s*=", lines[i]):
            lines[i] = f"{key}={value}"
            return
    lines.insert(section, f"{key}={value}")


def _with_size(text: str, size: tuple[int, int]) -> str:
    for key, value in zip(("width", "height"), size, strict=True):
        text = re.sub(rf"(?m)^(\s*{key}\s*=).*$", rf"\g<1>{value}", text, count=1)
    return text


def _mask(network: Network, index: int) -> list[int]:
    section = network.layers[index].section
    return section.numbers("mask") or list(range(section.whole("num", 1)))


def _begin(name: str, network: Network, names: Sequence[str], seed: int) -> Weights:
    files = find_darknet(name)
    source = read_cfg(files.cfg, files.size)
    theirs = read_weights(files.weights, source)
    found = transferred(network, names, first_weights(network, seed), source, names_of(files, source), theirs)
    if not found.layers:
        raise UserError(f"{name}: none of its layers is like one of the cfg's; begin with a model of the same family")
    return found.weights
