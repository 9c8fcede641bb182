"""Small real parts for driving the loop: captures, detectors and hands that remember."""

import threading
import time
from pathlib import Path

import numpy as np

from agent.context import Context
from agent.types import Action, Detections, Frame


def context(**changes: object) -> Context:
    values = {"folder": Path(), "seed": 0, "live": False, "lock_step": True, "panic": lambda reason: None}
    return Context(**{**values, **changes})


def frame(index: int = 0, width: int = 64, height: int = 48, **changes: object) -> Frame:
    now = time.perf_counter_ns()
    pixels = np.full((height, width, 3), index % 256, np.uint8)
    return Frame(pixels, index, now, now, **changes)


def detections(*boxes: tuple[float, float, float, float], classes: list[int] | None = None) -> Detections:
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.linspace(0.9, 0.5, n, dtype=np.float32),
        np.array(classes if classes is not None else [0] * n, np.int32),
    )


class Frames:
    """Gives `count` frames, each `period_s` after the one before."""

    def __init__(self, count: int, period_s: float = 0.0) -> None:
        self.count = count
        self.period_s = period_s
        self.given = 0

    def grab(self) -> Frame | None:
        if self.given >= self.count:
            return None
        if self.period_s:
            time.sleep(self.period_s)
        self.given += 1
        return frame(self.given - 1)


class Finder:
    """Finds one box that wanders with the frame's index; may be slow on some frames."""

    names = ("thing",)

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.seen: list[int] = []

    def detect(self, frame: Frame) -> Detections:
        self.seen.append(frame.index)
        if self.delay_s:
            time.sleep(self.delay_s)
        x = frame.index % 40
        return detections((x, 10, x + 10, 20))


class Hand:
    """Remembers what it was told, and which buttons are down."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.down = 0
        self.releases = 0
        self.released = threading.Event()

    def apply(self, action: Action) -> None:
        self.actions.append(action)
        self.down = action.buttons

    def release(self) -> None:
        self.down = 0
        self.releases += 1
        self.released.set()
