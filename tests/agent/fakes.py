"""Small real parts for driving the loop: captures, detectors and hands that remember."""

import threading
import time
from pathlib import Path

import numpy as np

from agent.context import Context
from agent.types import Detections, Frame
from reticle.testing import FakeActuation, FakeDetector, detections

__all__ = ["Finder", "Hand", "context", "detections", "frame"]


def context(**changes: object) -> Context:
    values = {"folder": Path(), "seed": 0, "live": False, "lock_step": True, "panic": lambda reason: None}
    return Context(**{**values, **changes})


def frame(index: int = 0, width: int = 64, height: int = 48, **changes: object) -> Frame:
    now = time.perf_counter_ns()
    pixels = np.full((height, width, 3), index % 256, np.uint8)
    return Frame(pixels, index, now, now, **changes)


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
        return frame(self.given - 1, at_ns=(self.given - 1) * 10_000_000 + 1)


class Finder(FakeDetector):
    """Finds one box that wanders with the frame's index; may be slow on some frames."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.delay_s = delay_s
        self.seen: list[int] = []

    def detect(self, frame: Frame) -> Detections:
        self.seen.append(frame.index)
        if self.delay_s:
            time.sleep(self.delay_s)
        return super().detect(frame)


class Hand(FakeActuation):
    """Remembers what it was told, which buttons are down, and tells a waiting thread of a release."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def release(self) -> None:
        super().release()
        self.released.set()
