"""The tasks: where targets appear, how they move, and what becomes of them when they are hit.

A task knows the world and not who plays: it is told where the view is and where shots go.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Protocol

import numpy as np

from plugins.tasks.scene import SPRITES, STEEPEST_DEG, Target
from plugins.tasks.score import Flick

DISTANCES_DEG = (8.0, 16.0, 32.0)
HEIGHTS_DEG = (5.0, 10.0)
"""Of flicks: how far from the crosshair targets appear, and how high they look."""
FLICK_S, PAUSE_S = 3.0, 0.4
"""How long a flick's target stays, and how long nothing is there before the next."""
STEEPEST_TARGET_DEG = 12.0
TRACKED_HEIGHT_DEG = 8.0
SWITCHED, SWITCHED_HEIGHTS_DEG = 4, (5.0, 9.0)
REAPPEARS_S = 0.3
SIDE_DEG = 30.0
"""How far to each side targets go that move."""


class Task(Protocol):
    """What happens in the room."""

    targets: list[Target]

    def advance(self, at_s: float, view: tuple[float, float]) -> bool:
        """Let the time be so late, with the view there; tell whether it goes on."""

    def shot(self, hit: Target | None, view: tuple[float, float]) -> None:
        """Take a shot in, and what it hit."""


class Flicks:
    """Targets that appear one after another, at chosen distances and sizes in random directions and order."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        conditions = list(itertools.product(DISTANCES_DEG, HEIGHTS_DEG))
        self._order = [conditions[i % len(conditions)] for i in rng.permutation(count)]
        self._rng = rng
        self._next_s = PAUSE_S
        self._at_s = 0.0
        self.targets: list[Target] = []
        self.done: list[Flick] = []
        self._flick: Flick | None = None

    def advance(self, at_s: float, view: tuple[float, float]) -> bool:
        """Let the time be so late; it goes on until the last target is gone."""
        self._at_s = at_s
        if self._flick is not None:
            self._flick.moved(view)
            if at_s - self.targets[0].born_s >= FLICK_S:
                self._end()
        elif at_s >= self._next_s:
            if len(self.done) == len(self._order):
                return False
            self._appear(view)
        return True

    def shot(self, hit: Target | None, view: tuple[float, float]) -> None:
        """Take a shot in, which ends the flick if it hits."""
        if self._flick is not None:
            self._flick.shot(self._at_s, view, hit is not None)
            if hit is not None:
                self._end()

    def _appear(self, view: tuple[float, float]) -> None:
        distance, height = self._order[len(self.done)]
        steepest = min(STEEPEST_TARGET_DEG, 0.9 * distance)
        down = float(self._rng.uniform(-steepest, steepest))
        if abs(view[1] + down) > STEEPEST_TARGET_DEG:  # back towards the horizon, so that views do not wander off
            down = -math.copysign(down, view[1])
        right = math.sqrt(distance**2 - down**2) * float(self._rng.choice((-1, 1)))
        sprite = int(self._rng.integers(len(SPRITES)))
        target = Target(view[0] + right, view[1] + down, height, sprite, self._at_s)
        self.targets = [target]
        self._flick = Flick((distance, height), view, (target.right, target.down), self._at_s)

    def _end(self) -> None:
        assert self._flick is not None
        self.done.append(self._flick)
        self._flick, self.targets = None, []
        self._next_s = self._at_s + PAUSE_S


class Tracked:
    """One target that moves and is not to be lost."""

    def __init__(
        self, rng: np.random.Generator, seconds: float, motion: Callable[[float], tuple[float, float]]
    ) -> None:
        self._motion, self._seconds = motion, seconds
        self.targets = [Target(*motion(0.0), TRACKED_HEIGHT_DEG, int(rng.integers(len(SPRITES))))]

    def advance(self, at_s: float, view: tuple[float, float]) -> bool:
        """Let the time be so late."""
        self.targets[0].right, self.targets[0].down = self._motion(at_s)
        return at_s < self._seconds

    def shot(self, hit: Target | None, view: tuple[float, float]) -> None:
        """Let the target go on, hit or not."""


class Switched:
    """Several targets that drift; one that is hit appears elsewhere."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        self._rng, self._seconds, self._at_s = rng, seconds, 0.0
        self._rates: dict[int, float] = {}
        self._waiting: list[float] = []
        self.targets: list[Target] = []
        for _ in range(SWITCHED):
            self._appear()

    def advance(self, at_s: float, view: tuple[float, float]) -> bool:
        """Let the time be so late."""
        seconds, self._at_s = at_s - self._at_s, at_s
        for target in self.targets:
            target.right += self._rates[id(target)] * seconds
            if abs(target.right) > SIDE_DEG:
                self._rates[id(target)] = -math.copysign(self._rates[id(target)], target.right)
        while self._waiting and self._waiting[0] <= at_s:
            self._waiting.pop(0)
            self._appear()
        return at_s < self._seconds

    def shot(self, hit: Target | None, view: tuple[float, float]) -> None:
        """Take away a target that was hit."""
        if hit is not None:
            self.targets.remove(hit)
            del self._rates[id(hit)]
            self._waiting.append(self._at_s + REAPPEARS_S)

    def _appear(self) -> None:
        right = float(self._rng.uniform(-SIDE_DEG, SIDE_DEG))
        down = float(self._rng.uniform(-STEEPEST_TARGET_DEG / 2, STEEPEST_TARGET_DEG / 2))
        height = float(self._rng.uniform(*SWITCHED_HEIGHTS_DEG))
        target = Target(right, down, height, int(self._rng.integers(len(SPRITES))), self._at_s)
        self._rates[id(target)] = float(self._rng.uniform(-12, 12))
        self.targets.append(target)


def strafe(rng: np.random.Generator) -> Callable[[float], tuple[float, float]]:
    """Return a motion to and fro at a constant speed."""
    speed = float(rng.uniform(15, 40))
    start = float(rng.uniform(0, 4 * SIDE_DEG))
    return lambda t: (_to_and_fro(start + speed * t, SIDE_DEG), 2.0)


def bounce(rng: np.random.Generator) -> Callable[[float], tuple[float, float]]:
    """Return a motion across both axes that walls throw back."""
    speed_x, speed_y = float(rng.uniform(15, 35)), float(rng.uniform(8, 18))
    start_x, start_y = rng.uniform(0, 100, 2)
    return lambda t: (
        _to_and_fro(start_x + speed_x * t, SIDE_DEG),
        _to_and_fro(start_y + speed_y * t, STEEPEST_TARGET_DEG),
    )


def accelerate(rng: np.random.Generator) -> Callable[[float], tuple[float, float]]:
    """Return a motion that speeds up and slows down all the time, in both axes."""
    periods, starts = rng.uniform(2.0, 4.0, 2), rng.uniform(0, 2 * math.pi, 2)
    return lambda t: (
        0.8 * SIDE_DEG * math.sin(2 * math.pi * t / periods[0] + starts[0]),
        0.5 * STEEPEST_TARGET_DEG * math.sin(2 * math.pi * t / periods[1] + starts[1]),
    )


def jump(rng: np.random.Generator) -> Callable[[float], tuple[float, float]]:
    """Return a motion to and fro with leaps, as players move: half a second in the air, in a parabola."""
    across = strafe(rng)
    begins = np.cumsum(rng.uniform(0.6, 1.6, 2000))

    def motion(t: float) -> tuple[float, float]:
        last = int(np.searchsorted(begins, t, side="right")) - 1
        part = (t - begins[last]) / LEAP_S if last >= 0 else 1.0
        return across(t)[0], 4.0 - (4 * LEAP_DEG * part * (1 - part) if part < 1 else 0.0)

    return motion


LEAP_S, LEAP_DEG = 0.5, 9.0
MOTIONS = {"strafe": strafe, "bounce": bounce, "accelerate": accelerate, "jump": jump}


def _to_and_fro(way: float, reach: float) -> float:
    """Return where one is after going that way between two walls, the middle being 0."""
    phase = way % (4 * reach)
    return phase - reach if phase < 2 * reach else 3 * reach - phase


def task(name: str, rng: np.random.Generator, seconds: float, flicks: int) -> Task:
    """Return a task by its name."""
    if name == "flick":
        return Flicks(rng, flicks)
    if name == "switch":
        return Switched(rng, seconds)
    return Tracked(rng, seconds, MOTIONS[name](rng))


def clamped(down: float) -> float:
    """Return how steep a view is that would be so steep."""
    return max(-STEEPEST_DEG, min(STEEPEST_DEG, down))
