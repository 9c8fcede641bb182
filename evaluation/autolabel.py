"""Frames of one's own game from the screen, labelled by a model, to be corrected by hand and trained on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.context import Context
from agent.loop import ActiveRoles
from agent.plan import Options
from agent.profile import Choice, LoadedProfile, choose
from agent.roles import Detector
from agent.session import Result, create, play, prepare
from agent.types import Detections, Frame
from core.errors import UserError
from core.files import atomic_folder, write_atomically
from core.images import encode, thumbnail
from core.text import to_json
from evaluation.label_forms import Proposal, write
from evaluation.middleware import NOTHING, StoppingCapture
from evaluation.uncertainty import MARGIN, Judge

QUALITY = 95
CHANGE = 3.0
"""How much a frame differs from the last one kept, in grey values of its thumbnail, at the least."""


@dataclass(frozen=True)
class Wanted:
    """What to collect.

    :param form: of the labels, one of `evaluation.label_forms.FORMS`.
    :param every_s: no two frames are closer than this, and none looks like the last one.
    :param unsure: only frames that are worth labelling (`evaluation.uncertainty`).
    :param second: a model, larger as a rule, whose disagreement makes a frame worth labelling; implies `unsure`.
    """

    form: str
    frames: int
    every_s: float
    unsure: bool = False
    second: str | None = None


@dataclass
class Collection:
    """What was collected so far."""

    frames: int = 0
    seen: int = 0
    too_soon: int = 0
    alike: int = 0
    certain: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


def autolabel(
    loaded: LoadedProfile, model: str, wanted: Wanted, options: Options, out: Path, done: Callable[[], None]
) -> tuple[Collection, Result]:
    """Watch by a profile's capture and write a data set: `out/images`, labels, `names.txt`, `card.json`.

    Nothing is moved. Ended early, what was collected until then is there.

    :param model: the bundle that labels; the profile's detector finds with it at its own confidence.
    :raises UserError: `out` is there already or cannot be written, or the profile has no capture that can run.
    """
    factory = loaded.catalogue.first("detector", lambda f: f.runs_models, "runs models")
    own = loaded.roles.detector
    # Every picture is looked at whole, and however long that takes.
    live = {"center_crop", "fallback"}
    settings = own.settings.model_dump(exclude_unset=True, exclude=live) if own.factory == factory else {}

    def chosen(what: str, model: str, **changes: Any) -> Choice:
        return choose(factory, what, **{**settings, **changes, "model": model})

    detector = chosen("the labelling model", model)
    unsure = wanted.unsure or wanted.second is not None
    threshold = float(getattr(detector.settings, "confidence", 0.0))
    if unsure:
        detector = chosen("the labelling model", model, confidence=threshold * (1 - MARGIN))
    second = None if wanted.second is None else chosen("the second model", wanted.second)
    collection = Collection()
    with atomic_folder(out) as folder, ExitStack() as stack:
        (folder / "images").mkdir()
        writer = _Writer(folder, wanted, collection, done)

        def label(roles: ActiveRoles, context: Context) -> ActiveRoles:
            other = None
            if second is not None:
                prepare(second, context)
                other = create(second, context)
                stack.callback(getattr(other, "close", lambda: None))
            names = writer.names = roles.detector.names
            if unsure:
                labelling: Detector = _Unsure(roles.detector, other, Judge(names, threshold), writer)
            else:
                labelling = _Labelling(roles.detector, writer)
            capture = StoppingCapture(roles.capture, lambda: collection.frames >= wanted.frames)
            return replace(roles, detector=labelling, capture=capture)

        watching = loaded.with_roles(detector=detector, selection=NOTHING, guards=(), observers=())
        result = play(watching, options, middleware=[label])
        if result.error is not None:
            raise result.error
        if not collection.frames:
            certain = f", {collection.certain} left no doubt" if unsure else ""
            raise UserError(
                f"no frame was taken of the {collection.seen} that were seen ({result.ended}): {collection.too_soon} "
                f"came too soon after another, {collection.alike} looked like the one before{certain}"
            )
        writer.finish()
    return collection, result


class _Writer:
    """Writes the frames that are new, and at the end their labels."""

    def __init__(self, folder: Path, wanted: Wanted, collection: Collection, done: Callable[[], None]) -> None:
        self.names: tuple[str, ...] = ()
        self._folder = folder
        self._form = wanted.form
        self._every_ns = int(wanted.every_s * 1e9)
        self.collection = collection
        self._done = done
        self._next_ns = 0
        self._last: NDArray[Any] | None = None
        self._proposals: list[Proposal] = []
        self._reasons: dict[str, tuple[str, ...]] = {}

    def is_new(self, frame: Frame) -> bool:
        """Tell whether it is time for a frame and it differs from the last one; if so, it is the last one now."""
        if time.perf_counter_ns() < self._next_ns:
            self.collection.too_soon += 1
            return False
        small = thumbnail(frame.pixels)
        if self._last is not None and float(np.abs(small - self._last).mean()) <= CHANGE:
            self.collection.alike += 1
            return False
        self._last = small
        self._next_ns = time.perf_counter_ns() + self._every_ns
        return True

    def keep(self, frame: Frame, found: Detections, reasons: tuple[str, ...] = ()) -> None:
        """Write a frame."""
        name = f"{self.collection.frames:06d}.jpg"
        picture = np.ascontiguousarray(frame.pixels[:, :, :3])
        (self._folder / "images" / name).write_bytes(encode(picture, ".jpg", QUALITY))
        limit = np.array((frame.width, frame.height) * 2, np.float32)
        classes = found.class_id.tolist()
        boxes = np.clip(found.xyxy, 0, limit).tolist()
        self._proposals.append(Proposal(name, frame.width, frame.height, boxes, classes, found.confidence.tolist()))
        self._reasons[name] = reasons
        self.collection.frames += 1
        self.collection.boxes.update(self.names[i] for i in classes)
        self.collection.reasons.update(reasons)
        self._done()

    def finish(self) -> None:
        """Write labels, names and the card."""
        write_atomically(self._folder / "names.txt", "\n".join(self.names) + "\n")
        write(self._form, self._folder, self._proposals, self.names)
        card = {
            "frames": self.collection.frames,
            "seen": self.collection.seen,
            "boxes": dict(self.collection.boxes),
            "reasons": dict(self.collection.reasons),
            "images": {name: list(reasons) for name, reasons in self._reasons.items()},
        }
        write_atomically(self._folder / "card.json", to_json(card, indent=1))


class _Labelling:
    """A detector that keeps frames with what it found, and tells the loop of none of it, so that nothing is done."""

    def __init__(self, detector: Detector, writer: _Writer) -> None:
        self.names = detector.names
        self._detect = detector.detect
        self._writer = writer

    def detect(self, frame: Frame) -> Detections:
        """Keep the frame if it is time and it is new."""
        self._writer.collection.seen += 1
        if self._writer.is_new(frame):
            self._writer.keep(frame, self._detect(frame))
        return Detections.empty()


class _Unsure:
    """Likewise, of frames that are worth labelling; it detects in every frame, and judges by those around it."""

    def __init__(self, detector: Detector, second: Detector | None, judge: Judge, writer: _Writer) -> None:
        self.names = detector.names
        self._detect = detector.detect
        self._second = second
        self._judge = judge
        self._writer = writer

    def detect(self, frame: Frame) -> Detections:
        """Keep the frame before this one if there is doubt about it, it is time and it is new."""
        self._writer.collection.seen += 1
        other = None if self._second is None else (self._second.detect(frame), self._second.names)
        held = replace(frame, pixels=frame.pixels.copy())  # the capture may write over its own
        judged = self._judge.judge(held, self._detect(frame), other)
        if judged is not None and not judged.reasons:
            self._writer.collection.certain += 1
        elif judged is not None and self._writer.is_new(judged.frame):
            self._writer.keep(judged.frame, judged.found, judged.reasons)
        return Detections.empty()
