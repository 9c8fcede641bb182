"""The form of a recording: what is in its folder, and a line for each frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import BaseModel, Field

from agent.types import Frame, FrameEvent, Outcome
from core.errors import UserError
from core.text import parse_json, read_json, read_text, validated

VERSION = 3
"""Older ones are read too: 1 told what was sent and moved something, and had no `moved`; 2 did not say when."""
EVENTS, INFO, PROFILE = "events.jsonl", "recording.json", "profile.yaml"
TIMES = ("grab_ns", "grabbed_ns", "taken_ns", "preprocessed_ns", "inferred_ns", "decoded_ns", "selected_ns", "acted_ns")


COMPARED = (
    ("frame", "number"),
    ("boxes", "detections"),
    ("confidence", "detections"),
    ("classes", "detections"),
    ("target", "target"),
    ("action", "action"),
)
"""What two runs must have alike in each frame, in the order in which one follows from the other."""


RECORDING = "the recording"

Nanoseconds = Annotated[int, Field(ge=-(2**62), le=2**62)]
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Real = Annotated[float, Field(allow_inf_nan=False)]


class RecordingInfo(BaseModel):
    """What recording.json must say to be replayed."""

    version: int
    frames: int = Field(ge=0)


class RecordedFrame(BaseModel):
    """One line of events.jsonl."""

    frame: int = Field(ge=0, lt=2**62)
    episode: Whole
    origin: tuple[Whole, Whole]
    at_ns: Nanoseconds
    times_ns: Annotated[list[Nanoseconds], Field(min_length=len(TIMES), max_length=len(TIMES))]
    boxes: list[tuple[Real, Real, Real, Real]]
    confidence: list[Annotated[float, Field(ge=0, le=1)]]
    classes: list[Annotated[int, Field(ge=0, lt=2**31)]]
    target: tuple[Whole, Real, Real, Real, Real, Real, Real, Real] | None
    action: tuple[Whole, Whole, Annotated[int, Field(ge=0, lt=8)], tuple[Whole, Whole] | None]
    sent: bool
    moved: bool | None = None
    sent_ns: Nanoseconds = 0


def video_of(suffix: str) -> str:
    """Return the name of the file with the frames."""
    return f"frames.{suffix}"


def is_recording(path: Path) -> bool:
    """Tell a recording from a folder of images."""
    return (path / INFO).is_file()


def row(event: FrameEvent) -> dict[str, Any]:
    """Return one frame's line: floats are written so that they come back to the bit."""
    frame, target, found = event.frame, event.target, event.detections
    line: dict[str, Any] = {
        "frame": frame.index,
        "episode": frame.episode,
        "origin": frame.origin,
        "at_ns": frame.at_ns,
        "times_ns": [getattr(frame, name) for name in TIMES],
        "boxes": found.xyxy.tolist(),
        "confidence": found.confidence.tolist(),
        "classes": found.class_id.tolist(),
        "target": None
        if target is None
        else [target.class_id, *target.box, target.confidence, target.aim_x, target.aim_y],
        "action": [event.action.dx, event.action.dy, event.action.buttons, event.action.point],
        "sent": event.sent,
        "moved": event.moved,
        "sent_ns": frame.sent_ns,
    }
    if event.veto is not None:
        line["veto"] = event.veto
    return line


def difference(one: Path, other: Path) -> tuple[int, str] | None:
    """Return the number of the first frame at which two recordings part, and why; None where they do not.

    :raises UserError: one is no recording.
    """
    first, second = lines(one), lines(other)
    for a, b in zip(first, second, strict=False):
        for key, what in COMPARED:
            mine, theirs = getattr(a, key), getattr(b, key)
            if mine != theirs:
                return a.frame, f"{what}: {_short(mine)} and {_short(theirs)}"
    if len(first) != len(second):
        return min(len(first), len(second)), f"one has {len(first)} frames, the other {len(second)}"
    return None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def lines(folder: Path) -> list[RecordedFrame]:
    """Return what was seen and decided in each frame.

    :raises UserError: the recording is damaged.
    """
    path = folder / EVENTS
    rows = [
        parse_json(line, f"{path}:{number}", RECORDING)
        for number, line in enumerate(read_text(path, RECORDING).split("\n"), 1)
        if line.strip()
    ]
    found: list[RecordedFrame] = validated(list[RecordedFrame], rows, path, RECORDING)
    for number, line in enumerate(found, 1):
        if not len(line.boxes) == len(line.confidence) == len(line.classes):
            raise UserError(f"{path}:{number}: {RECORDING} is damaged: boxes, confidence and classes differ in number")
    return found


def frames(folder: Path) -> Iterator[Frame]:
    """Yield the frames of a recording as they were grabbed, BGR.

    :raises UserError: the recording is incomplete or damaged.
    """
    path = folder / INFO
    info: RecordingInfo = validated(RecordingInfo, read_json(path, RECORDING), path, RECORDING)
    if info.version not in range(1, VERSION + 1):
        raise UserError(f"{folder}: a recording of version {info.version}, and this reads 1 to {VERSION}")
    told = lines(folder)
    video = next((file for file in sorted(folder.iterdir()) if file.stem == "frames"), None)
    if video is None:
        raise UserError(f"{folder}: {RECORDING} is damaged: it has no frames.* with its pictures")
    complete = len(told) == info.frames
    reader = cv2.VideoCapture(str(video))
    try:
        for line in told:
            read, pixels = reader.read()
            if not read:
                complete = False
                break
            grab_ns, grabbed_ns, *_ = line.times_ns
            yield Frame(
                np.asarray(pixels, np.uint8),
                line.frame,
                grab_ns,
                grabbed_ns,
                line.origin,
                line.episode,
                line.at_ns,
                Outcome(line.sent, line.sent if line.moved is None else line.moved, line.sent_ns),
            )
    finally:
        reader.release()
    if not complete:
        raise UserError(f"{folder}: the recording breaks off before its {info.frames} frames; it is damaged")
