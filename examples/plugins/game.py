"""Capture `balloons`: a game in one file. Red balloons rise across the view; a press of the left button pops one.

It owns its world, so it is an environment: it knows the ground truth, keeps the score, and takes actions itself. The
detector `oracle`, the actuation `environment`, tables, reports and the arena work with it as they do with Doom.
"""

import math
import threading
import time

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from reticle import (
    IDLE,
    LEFT,
    Action,
    CaptureFactory,
    Context,
    Detections,
    Episode,
    Frame,
    Measure,
    PluginSettings,
    hookimpl,
)

WIDTH, HEIGHT = 320, 240
FOV_DEG, DEGREES_PER_COUNT = 90.0, 0.1
FOCAL_PX = WIDTH / 2 / math.tan(math.radians(FOV_DEG / 2))
RED = (40, 40, 220)


class Settings(PluginSettings):
    """What a profile can set."""

    balloons: int = Field(6, gt=0, le=100, description="How many there are at a time.")
    steps: int = Field(300, gt=0, description="Frames of an episode.")


class Balloons:
    """The view turns to the right and down by counts; a balloon is at a direction, in degrees, and has a radius."""

    names = ("balloon",)
    measures = (Measure("popped", "Balloons popped."), Measure("presses", "Presses of the left button."))
    step_s = 1 / 60

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings = settings
        self._seed = context.seed
        self._limit = context.episodes
        self._index = 0
        self._lock = threading.Lock()
        self._action = IDLE
        self.episodes: list[Episode] = []
        self._begin()

    def grab(self) -> Frame | None:
        """Move the world on by one step and draw it."""
        if self._limit is not None and len(self.episodes) == self._limit:
            return None
        grab_ns = time.perf_counter_ns()
        self._step()
        self._index += 1
        at_ns = round(self._index * self.step_s * 1e9)
        frame = Frame(self._draw(), self._index - 1, grab_ns, time.perf_counter_ns(),
                      episode=len(self.episodes), at_ns=at_ns)  # fmt: skip
        self._left -= 1
        if not self._left:
            scores = {"popped": self._popped, "presses": self._presses}
            self.episodes.append(Episode("balloons", self._seed + len(self.episodes), scores))
            self._begin()
        return frame

    def truth(self, frame: Frame) -> Detections:
        """Return the balloons in the frame that was grabbed last."""
        n = len(self._boxes)
        return Detections(self._boxes, np.ones(n, np.float32), np.zeros(n, np.int32))

    def apply(self, action: Action) -> None:
        """Take the action in at the next step."""
        with self._lock:
            self._action = action

    def _begin(self) -> None:
        self._random = np.random.default_rng(self._seed + len(self.episodes))
        self._left = self._settings.steps
        self._popped = self._presses = 0
        self._down = False
        self._view = np.zeros(2)
        self._where = self._random.uniform((-40, -20), (40, 25), (self._settings.balloons, 2))
        self._radius = self._random.uniform(1.5, 4, self._settings.balloons)

    def _step(self) -> None:
        with self._lock:
            action, self._action = self._action, IDLE
        self._view += np.array([action.dx, action.dy]) * DEGREES_PER_COUNT
        self._where[:, 1] -= 8 * self.step_s  # they rise, eight degrees a second
        pressed = bool(action.buttons & LEFT)
        if pressed and not self._down:
            self._presses += 1
            off = np.hypot(*(self._where - self._view).T)
            hit = int(np.argmin(off))
            if off[hit] < self._radius[hit]:
                self._popped += 1
                self._where[hit] = self._new()
        self._down = pressed
        for i in np.flatnonzero(self._where[:, 1] < -30):
            self._where[i] = self._new()

    def _new(self) -> NDArray[np.float64]:
        return self._random.uniform((-40, 20), (40, 28))

    def _draw(self) -> NDArray[np.uint8]:
        pixels = np.full((HEIGHT, WIDTH, 3), (235, 206, 135), np.uint8)
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        boxes = []
        for where, radius in zip(self._where - self._view, self._radius, strict=True):
            x, y = FOCAL_PX * np.tan(np.radians(np.clip(where, -80, 80))) + (WIDTH / 2, HEIGHT / 2)
            r = FOCAL_PX * math.tan(math.radians(radius))
            pixels[(columns - x) ** 2 + (rows - y) ** 2 < r * r] = RED
            if -r < x < WIDTH + r and -r < y < HEIGHT + r:
                boxes.append((max(x - r, 0), max(y - r, 0), min(x + r, WIDTH), min(y + r, HEIGHT)))
        self._boxes = np.array(boxes, np.float32).reshape(-1, 4)
        return pixels


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `balloons`."""
    return CaptureFactory("balloons", Balloons, Settings, "a game of rising balloons", class_names=Balloons.names)
