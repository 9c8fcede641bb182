"""A made world for experiments with the view: a sphere of texture, drawn as a game draws it, turned by a mouse."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from agent.types import Action, Frame


@functools.cache
def _sphere(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.random((2**k, 2 ** (k + 1))).astype(np.float32), (4096, 2048)) for k in range(3, 10)]
    texture = sum(layers) / len(layers)
    low, high = np.percentile(texture, (1, 99))
    return np.clip((texture - low) / (high - low), 0, 1)


@dataclass
class World:
    """A view of it. `right` and `down` are degrees a count; `overlay` draws a weapon and a status bar that stand still;
    `faster` turns so much farther for counts beyond 40 at once; `light` is how bright the brightest is."""

    right: float
    down: float
    fov_deg: float = 90.0
    width: int = 320
    height: int = 240
    pitch_deg: float = 0.0
    overlay: bool = False
    light: float = 90.0
    faster: float = 1.0
    shear: bool = False
    seed: int = 0
    yaw_deg: float = 0.0
    start_deg: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._sphere = _sphere(self.seed) * self.light
        self.start_deg = self.pitch_deg

    @property
    def focal(self) -> float:
        return self.width / 2 / math.tan(math.radians(self.fov_deg) / 2)

    def turn(self, action: Action) -> None:
        by = self.faster if max(abs(action.dx), abs(action.dy)) > 40 else 1.0
        self.yaw_deg += by * action.dx * self.right
        self.pitch_deg = max(-89.0, min(89.0, self.pitch_deg + by * action.dy * self.down))

    def picture(self) -> np.ndarray:
        f, w, h = self.focal, self.width, self.height
        x, y = np.meshgrid(np.arange(w) - (w - 1) / 2, np.arange(h) - (h - 1) / 2)
        pitch = math.radians(self.pitch_deg)
        if self.shear:
            y, pitch = y + f * math.tan(pitch), 0.0
        # Down is y; the head is bent down by the pitch, then turned to the right by the yaw.
        up_down = y * math.cos(pitch) + f * math.sin(pitch)
        ahead = f * math.cos(pitch) - y * math.sin(pitch)
        azimuth = np.arctan2(x, ahead) + math.radians(self.yaw_deg)
        elevation = np.arctan2(up_down, np.hypot(x, ahead))
        columns = (azimuth / (2 * math.pi) * 4096) % 4096
        rows = (elevation / math.pi + 0.5) * 2048
        drawn = cv2.remap(
            self._sphere,
            columns.astype(np.float32),
            rows.astype(np.float32),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        picture = np.repeat(drawn[..., None], 3, axis=2).astype(np.uint8)
        if self.overlay:
            cv2.rectangle(picture, (0, h - h // 8), (w // 2, h), (60, 200, 250), -1)
            cv2.putText(picture, "100", (8, h - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2)
            cv2.fillConvexPoly(
                picture, np.array([(w * 5 // 9, h), (w * 2 // 3, h * 2 // 3), (w * 8 // 9, h)]), (90, 90, 90)
            )
            cv2.circle(picture, (w // 2, h // 2), 2, (255, 255, 255), -1)
        return picture


def play(world: World, controller, most: int = 4000) -> None:
    """Let a controller turn the world in lock-step until it is done."""
    for i in range(most):
        frame = Frame(world.picture(), i, i * 1000 + 1, i * 1000 + 2)
        action = controller.decide(None, frame)
        if controller.done:
            return
        world.turn(action)
        controller.sent(action, frame)
    raise AssertionError("it does not end")
