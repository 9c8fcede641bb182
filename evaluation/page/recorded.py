"""A recording as pictures: its timeline, and the frames that took longest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml
from numpy.typing import NDArray

from agent.recording import INFO, PROFILE, RECORDING, RecordedFrame, frames, lines
from core.errors import UserError
from core.text import read_json, read_text
from evaluation import figures

WORST = 4
BOX, AIM = (80, 220, 80), (60, 60, 240)


@dataclass(frozen=True)
class Recorded:
    """A recording's lines, in order, and where the crosshair is in its pictures, pixels."""

    folder: Path
    lines: list[RecordedFrame]
    crosshair: tuple[float, float]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.lines[-1].at_ns - self.lines[0].at_ns) / 1e9

    @property
    def acted(self) -> int:
        """In how many frames something was sent."""
        return sum(line.sent for line in self.lines)


def read(folder: Path) -> Recorded:
    """Read a recording.

    :raises UserError: it is damaged, or holds nothing.
    """
    found = lines(folder)
    if not found:
        raise UserError(f"{folder}: the recording holds no frame")
    info = read_json(folder / INFO, RECORDING)
    profile = yaml.safe_load(read_text(folder / PROFILE, RECORDING)) or {}
    across, along = profile.get("crosshair", (0.5, 0.5))
    return Recorded(folder, found, (across * info["width"], along * info["height"]))


def latency_ms(line: RecordedFrame) -> float:
    """Return a frame's end-to-end latency."""
    return (line.times_ns[-1] - line.times_ns[0]) / 1e6


def timeline(found: Recorded) -> bytes:
    """Return latency, distance to the target and turn over time, PNG."""
    at = np.array([(line.at_ns - found.lines[0].at_ns) / 1e9 for line in found.lines])
    drawn = figures.figure(9, 6)
    panels = drawn.subplots(3, 1, sharex=True)
    rows = (
        ("end to end, ms", [latency_ms(line) for line in found.lines]),
        ("from the crosshair to the target, px", [_off(line, found.crosshair) for line in found.lines]),
        ("counts sent, right", [line.action[0] if line.sent else 0 for line in found.lines]),
    )
    for axes, (name, values) in zip(panels, rows, strict=True):
        axes.plot(at, values, linewidth=0.7, color="#3b6ea5")
        axes.set_title(name, fontsize=9, loc="left")
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("seconds")
    return figures.png(drawn)


def _off(line: RecordedFrame, crosshair: tuple[float, float]) -> float:
    if line.target is None:
        return math.nan
    return math.dist(line.target[6:], crosshair)


def worst(found: Recorded) -> Iterator[tuple[str, bytes]]:
    """Yield a caption and the PNG of each of the frames that took longest, with what was found in it."""
    longest = sorted(found.lines, key=latency_ms, reverse=True)[:WORST]
    wanted = {line.frame: line for line in longest}
    drawn: dict[int, bytes] = {}
    for frame in frames(found.folder):
        line = wanted.get(frame.index)
        if line is not None:
            drawn[line.frame] = _drawn(frame.pixels, line)
            if len(drawn) == len(wanted):
                break
    for line in longest:
        if line.frame in drawn:
            yield (
                f"Frame {line.frame}: {latency_ms(line):.2f} ms end to end, {len(line.boxes)} found",
                drawn[line.frame],
            )


def _drawn(pixels: NDArray[np.uint8], line: RecordedFrame) -> bytes:
    picture = pixels.copy()
    for box in line.boxes:
        left, top, right, bottom = (round(v) for v in box)
        cv2.rectangle(picture, (left, top), (right, bottom), BOX, 1)
    if line.target is not None:
        cv2.drawMarker(picture, (round(line.target[6]), round(line.target[7])), AIM, cv2.MARKER_CROSS, 12, 1)
    _, coded = cv2.imencode(".png", picture)
    return coded.tobytes()
