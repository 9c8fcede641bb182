"""Accuracy of an engine on annotated images, from files to figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from core.geometry import Resize
from core.precision import Precision
from core.progress import Progress, counter, silent
from engine.boxes import Rows
from engine.choice import resolve
from engine.darknet import Network
from engine.engine import check_engine
from engine.models import Files, identity, load
from engine.pipeline import fit_of
from engine.worker import Job, Worker
from evaluation import tutorial
from evaluation.accuracy import CONFIDENCE, matched, measure, predictions
from evaluation.datasets import Annotated, read
from evaluation.intervals import AP50, Interval, difference, interval, match, of_scoring


@dataclass(frozen=True)
class EvaluateConfig:
    """What is evaluated, and on what.

    :param images: the folder of the annotated images.
    :param annotations: COCO's JSON file, or a folder of VOC's .xml or YOLO's .txt files.
    :param size: the network's input, width and height in pixels; the model's own by default.
    :param engine: a runtime's name, with a colon and a device where it has several, or `auto`.
    :param against: another precision of the same engine, whose accuracy this one's is compared with, paired.
    """

    files: Files
    images: Path
    annotations: Path
    size: tuple[int, int] | None = None
    engine: str = "openvino"
    precision: Precision = "fp32"
    resize: Resize | Literal["auto"] = "auto"
    against: Precision | None = None


@dataclass(frozen=True)
class Evaluation:
    """AP values in points, 0 to 100; `classes` is AP50 by class, of the classes that the annotations have."""

    engine: str
    precision: str
    size: tuple[int, int]
    images: int
    ap50: float
    ap: float
    darknet_ap50: float
    seed_protocol_ap50: float | None
    """By the protocol of an old tutorial; see `evaluation.tutorial`. None for a network that is not Darknet's."""
    classes: dict[str, float]
    intervals: dict[str, Interval] = field(default_factory=dict)
    """`ap` and `ap50` with 95 % intervals; and `ap_difference` and `ap50_difference` to what it was compared with."""
    against: str | None = None
    model: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as docs/reports.md describes them."""
        return {
            "engine": self.engine,
            "precision": self.precision,
            "size": self.size[0] if self.size[0] == self.size[1] else list(self.size),
            "images": self.images,
            "ap50": self.ap50,
            "ap": self.ap,
            "darknet_ap50": self.darknet_ap50,
            "seed_protocol_ap50": self.seed_protocol_ap50,
            "classes": self.classes,
            "against": self.against,
            "intervals": {name: interval.to_dict() for name, interval in self.intervals.items()},
        }


Look = Callable[[Sequence[Rows], Sequence[Annotated], Sequence[str]], None]
"""Is shown what was found in each image, the truth, and the classes' names."""


def evaluate(config: EvaluateConfig, progress: Progress = silent, look: Look | None = None) -> Evaluation:
    """Detect in every image and score what was found.

    :raises UserError: a file is missing or wrong, or the engine is not there.
    """
    for wanted in (config.precision, config.against):
        if wanted is not None:
            check_engine(config.engine, wanted)
    loaded, names = load(config.files, config.size)
    network = loaded.network
    size = (network.width, network.height)
    truth = read(config.annotations, config.images, names)
    engine, precision = resolve(config.engine, loaded, config.precision)
    job = Job(config.files, size, engine, precision, CONFIDENCE, resize=config.resize, where="host")
    progress(f"loading {engine}", 0, 0)
    with Worker(job) as worker:
        found = predictions(worker.rows, truth, counter(progress, "detecting", len(truth)))
        old = None
        if isinstance(network, Network):  # the tutorial knew no other
            as_tutorial = tutorial.detecting(worker.outputs, network, fit_of(network, config.resize))
            old = predictions(as_tutorial, truth, counter(progress, "and as the tutorial did", len(truth)))
    scoring = matched(found, truth)
    matches = of_scoring(scoring, truth)
    intervals = {"ap": interval(matches), "ap50": interval(matches, AP50)}
    if config.against is not None:
        with Worker(replace(job, precision=config.against)) as worker:
            done = counter(progress, f"and at {config.against}", len(truth))
            other = match(predictions(worker.rows, truth, done), truth)
        intervals |= {
            "ap_difference": difference(matches, other),
            "ap50_difference": difference(matches, other, AP50),
        }
    result = measure(found, truth, names, scoring)
    if look is not None:
        look(found, truth, names)
    return Evaluation(
        engine,
        precision,
        size,
        result.images,
        result.ap50,
        result.ap,
        result.darknet_ap50,
        None if old is None else round(tutorial.ap50(old, truth), 2),
        result.classes,
        intervals,
        config.against,
        identity(config.files),
    )
