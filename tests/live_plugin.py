"""A detector that finds a blue window by its colour, for live runs on a real screen.

`fault` makes it break in its own ways after `frames` frames; each frame is said on standard error.
"""

import ctypes
import os
import sys
import time

import numpy as np
from pydantic import Field

from reticle import Detections, DetectorFactory, PluginSettings, hookimpl

BLUE = (0xCC, 0x66, 0x33)


class Settings(PluginSettings):
    fault: str = Field("", description="raise, hang, hold (the interpreter's lock), crash, slow (once), or none.")
    frames: int = Field(30, description="When; 0: once there is a file `armed` in the working folder.")


class BlueDetector:
    names = ("window",)

    def __init__(self, settings, context):
        self.settings = settings
        self.count = 0
        self.done = False

    def due(self):
        if self.settings.fault and self.settings.frames == 0 and not self.done and os.path.exists("armed"):  # noqa: PTH110
            self.done = True
            return True
        return self.count == self.settings.frames

    def detect(self, frame):
        self.count += 1
        if self.due():
            if self.settings.fault == "raise":
                raise RuntimeError("the detector broke")
            if self.settings.fault == "hang":
                print("hanging", file=sys.stderr, flush=True)
                time.sleep(60)
            if self.settings.fault == "hold":
                print("hanging", file=sys.stderr, flush=True)
                ctypes.PyDLL(None).sleep(60)  # unlike CDLL, it keeps the lock
            if self.settings.fault == "crash":
                ctypes.string_at(0)
            if self.settings.fault == "slow":
                time.sleep(5)
                print("slept", file=sys.stderr, flush=True)
        rows, columns = np.nonzero(np.all(frame.pixels[:, :, :3] == BLUE, axis=2))
        if not len(rows):
            return Detections.empty()
        box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        print("found", file=sys.stderr, flush=True)
        return Detections(box, np.ones(1, np.float32), np.zeros(1, np.int32))


@hookimpl
def reticle_detector():
    return DetectorFactory("blue", BlueDetector, Settings, "a blue window")
