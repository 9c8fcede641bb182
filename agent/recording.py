"""The form of a recording: what is in its folder, and a line for each frame."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from agent.types import Frame, FrameEvent, Outcome
from core.errors import UserError

VERSION = 2
"""1, which is read too, told what was sent and moved something, and had no `moved`."""
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
    }
    if event.veto is not None:
        line["veto"] = event.veto
    return line


def difference(one: Path, other: Path) -> tuple[int, str] | None:
    """Return the number of the first frame at which two recordings part, and why; None where they do not.

    :raises UserError: one is no recording.
    """
    first, second = _lines(one), _lines(other)
    for a, b in zip(first, second, strict=False):
        for key, what in COMPARED:
            if a[key] != b[key]:
                return a["frame"], f"{what}: {_short(a[key])} and {_short(b[key])}"
    if len(first) != len(second):
        return min(len(first), len(second)), f"one has {len(first)} frames, the other {len(second)}"
    return None


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _lines(folder: Path) -> Sequence[dict[str, Any]]:
    try:
        return [json.loads(line) for line in (folder / EVENTS).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: this is no recording, or it is damaged ({error})") from error


def frames(folder: Path) -> Iterator[Frame]:
    """Yield the frames of a recording as they were grabbed, BGR.

    :raises UserError: the recording is incomplete or damaged.
    """
    try:
        info = json.loads((folder / INFO).read_text(encoding="utf-8"))
        lines = _lines(folder)
        video = next(path for path in sorted(folder.iterdir()) if path.stem == "frames")
        complete = len(lines) == info["frames"]
    except (OSError, ValueError, KeyError, StopIteration) as error:
        raise UserError(f"{folder}: this recording is damaged ({type(error).__name__}: {error})") from error
    if info.get("version") not in range(1, VERSION + 1):
        raise UserError(f"{folder}: a recording of version {info.get('version')}, and this reads 1 to {VERSION}")
    reader = cv2.VideoCapture(str(video))
    try:
        for line in lines:
            read, pixels = reader.read()
            if not read:
                complete = False
                break
            grab_ns, grabbed_ns, *_ = line["times_ns"]
            yield Frame(
                pixels,
                line["frame"],
                grab_ns,
                grabbed_ns,
                tuple(line["origin"]),
                line["episode"],
                line["at_ns"],
                Outcome(line["sent"], line.get("moved", line["sent"])),
            )
    finally:
        reader.release()
    if not complete:
        raise UserError(f"{folder}: the recording breaks off before its {info['frames']} frames; it is damaged")
