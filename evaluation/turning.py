"""The experiment of a calibration: turns the view by known counts and takes the pictures, as a run's controller.

It is told nothing of the game. A motion counts once the guards let it pass, and a picture once it has come to rest:
machines and games are slow by turns, so that no fixed time says when a picture shows a motion.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from agent.types import IDLE, Action, Frame, Target
from core.errors import UserError
from evaluation.alignment import FEWEST_VIEWS, Turn, View, agreement, changed, contrast, overlay, shift

Grey = NDArray[np.uint8]
T = TypeVar("T")
Steps = Generator[Action, Frame, T]

WIDTH = 320
"""The width that pictures are compared at, pixels; narrower ones as they are."""
FIRST_COUNTS, LARGEST_COUNTS = 4, 16384
STEP_PART = 1 / 8
"""How much of the picture a step of the experiment moves."""
DIFFERENT = 0.2
"""A turn shows another view when so much of the picture changed."""
FEWEST_PIXELS = 0.25
"""How much of the picture must show the scene."""
SURE = 0.35
"""A correlation of two views of the same place; that of others is a quarter at most."""
ROUND = 11.4
"""A whole turn, radians, as it appears through a focal length of half the width, with a field of view of 60 degrees."""
MARGIN = 0.3
"""How much farther a sweep goes than the whole turn is thought to be."""
STRETCHES = (0.9, 0.95, 1.0, 1.05, 1.1)
"""How far the angle of a turn may be from what it appears to be in the middle of the picture."""
TILTS = (-0.45, -0.3, -0.15, 0.0, 0.15, 0.3, 0.45)
"""How far from the horizon the view may be, radians."""
PASSES = 4
PITCHES = 14
PITCH_PART = 0.12
"""How much of half the picture a turn up or down moves: little, as a game may stretch the picture one way."""
PARTS = 8
ARM_S = 120.0
SHORTEST_HOLD_NS, FIRST_HOLD_NS = 120_000_000, 350_000_000
PATIENCE_NS, LATE = 1_500_000_000, 90
"""The longest that is waited for a picture, and which percentile of the delays so far says how long it may take."""
TRIES = 3


@dataclass(frozen=True)
class Pair:
    """Two pictures at rest, and the counts from the first to the second."""

    before: Grey
    after: Grey
    counts: int


@dataclass(frozen=True)
class Sweep:
    """A turn on and on: the counts of each step, and the pictures before, between and after them."""

    step: int
    pictures: list[Grey]


@dataclass
class Recorded:
    """What an experiment gives.

    `sweeps`: turns by more than the whole, in turn to the right and to the left. `pitches`: pairs of pictures. `focal`:
    the focal length, roughly, pixels of the pictures. `delays_ns`: from a motion sent to the first picture that shows
    it. `fast`: how much farther counts turn at once than in parts. `scale`: a picture's pixel in pixels of the frame.
    """

    sweeps: list[Sweep] = field(default_factory=list)
    pitches: list[Pair] = field(default_factory=list)
    delays_ns: list[int] = field(default_factory=list)
    fast: list[float] = field(default_factory=list)
    mask: NDArray[np.bool_] | None = None
    focal: float = 0.0
    scale: float = 1.0
    width: int = 0
    turns: int = 0


class TurningController:
    """Turns by known counts, waits until the picture shows it, and keeps what it saw.

    :param live: time is real; in lock-step the next frame shows a motion.
    :param tell: is told in a line what comes next.
    """

    def __init__(self, live: bool, tell: Callable[[str], None] = lambda line: None) -> None:
        self._live = live
        self._tell = tell
        self._steps = self._experiment()
        self._decided = next(self._steps)
        self._carried, self._sent_ns = False, 0
        self._late_ns = 0
        self._noise = 0.0
        self.recorded = Recorded()
        self.vetoed = 0
        self.problem = ""
        self.done = False

    def decide(self, target: Target | None, frame: Frame) -> Action:
        """Return the next motion, or nothing while a picture has not come to rest."""
        if self.done:
            return IDLE
        try:
            self._decided = self._steps.send(frame)
        except StopIteration:
            self.done, self._decided = True, IDLE
        except UserError as error:
            self.done, self.problem, self._decided = True, str(error), IDLE
        return self._decided

    def sent(self, action: Action, frame: Frame) -> None:
        """Take note of whether the motion was carried out, and when."""
        self._carried = action == self._decided
        self._sent_ns = time.perf_counter_ns() if self._live else frame.at_ns

    def _experiment(self) -> Steps[None]:
        frame = yield IDLE
        self.recorded.width = frame.width
        self.recorded.scale = max(1.0, frame.width / WIDTH)
        yield from self._armed()
        yield from self._quiet()
        step = yield from self._probe()
        self._tell("looking for mouse acceleration")
        yield from self._parts(step)
        self._tell("turning round to see how the picture stretches")
        first = yield from self._sweep(step, ROUND)
        self._mask(first.pictures)
        if not self._sees():
            raise UserError("too little of the picture changes when the view turns; look at a place with more to see")
        self.recorded.focal = yield from self._guessed(first)
        # A whole turn as it appears through a focal length of half the width, and what its end is recognised by.
        whole = 2 * math.pi * self.recorded.focal / (first.pictures[0].shape[1] / 2) * (1 + MARGIN)
        for which in range(1, PASSES):
            self._tell(f"turning all the way round, {which + 1} of {PASSES}")
            yield from self._sweep(-step if which % 2 else step, whole)
        self._tell("turning up and down")
        yield from self._up_and_down(step)

    def _armed(self) -> Steps[None]:
        """Wait until a motion passes the guards; the first after a window opens may be lost besides."""
        for dx in (2, -2):
            yield from self._send(dx, 0)
            yield from self._rest()

    def _quiet(self) -> Steps[None]:
        """Measure how much the picture changes by itself."""
        last = self._grey((yield IDLE))
        changes: list[float] = []
        start_ns, at_ns = 0, 0
        while len(changes) < 3 or (self._live and at_ns - start_ns < 400_000_000):
            frame = yield IDLE
            at_ns = frame.at_ns
            start_ns = start_ns or at_ns
            now = self._grey(frame)
            changes.append(change(last, now))
            last = now
        self._noise = float(np.percentile(changes, 75))

    def _probe(self) -> Steps[int]:
        """Return how many counts move the picture by a step, and learn what is drawn over the scene."""
        counts, views = FIRST_COUNTS, [self._grey((yield IDLE))]
        last = self._grey((yield IDLE))
        still = changed(views[0], last)  # what changes by itself
        while True:
            before = views[-1]
            after = yield from self._turned(counts, 0)
            if changed(before, after) >= DIFFERENT + still:
                views.append(after)
                if len(views) <= FEWEST_VIEWS:
                    continue
                self._mask(views)
                if self._sees():
                    return (yield from self._sized(counts))
                views = views[-1:]  # too near each other to tell what stands still
            if counts * 2 > LARGEST_COUNTS:
                raise UserError(
                    f"turning by {counts} counts does not change the picture: the game does not take the mouse's "
                    "motion (is its window in front, and does it play?), or there is nothing to see but a wall"
                )
            # Small turns are taken back, so that the view does not creep away from what there is to see.
            yield from self._turned(-counts, 0)
            counts *= 2

    def _mask(self, views: list[Grey]) -> None:
        """Leave out from now on what is drawn over the scene."""
        self.recorded.mask = ~overlay(views)

    def _sees(self) -> bool:
        """Tell whether enough of the picture shows the scene."""
        return self.recorded.mask is not None and float(self.recorded.mask.mean()) >= FEWEST_PIXELS

    def _sized(self, counts: int) -> Steps[int]:
        """Return the counts that move the picture by a step."""
        before = self._grey((yield IDLE))
        focal = before.shape[1] / 2
        wanted = STEP_PART * before.shape[1] / focal
        for _ in range(2 * TRIES + 6):
            after = yield from self._turned(counts, 0)
            angle, score = shift(self.view(before), self.view(after), focal, 1, 1.2)
            before = after
            if score < SURE or abs(angle) < 0.2 * wanted:
                counts = max(1, counts // 2) if score < SURE else counts * 2
                continue
            found = max(1, round(counts * wanted / abs(angle)))
            if 0.6 < abs(angle) / wanted < 1.6:
                return found
            counts = found
        raise UserError("the picture does not move as a turning view would; look at a place with more to see")

    def _parts(self, step: int) -> Steps[None]:
        """Turn by the same counts at once and in parts: they turn as far, unless something accelerates the mouse."""
        part = max(1, step // PARTS)
        before = self._grey((yield IDLE))
        focal = before.shape[1] / 2
        for sign in (1, -1, 1, -1):
            whole = yield from self._turned(sign * part * PARTS, 0)
            for _ in range(PARTS):
                yield from self._send(-sign * part, 0)
            back = yield from self._settled(whole)
            there, sure = shift(self.view(before), self.view(whole), focal, 1, 1.2)
            again, sure_too = shift(self.view(whole), self.view(back), focal, 1, 1.2)
            if min(sure, sure_too) >= SURE and again:
                self.recorded.fast.append(abs(there / again))
            before = back

    def _sweep(self, step: int, angle: float) -> Steps[Sweep]:
        """Turn on and on by a step, until the view has turned by an apparent angle."""
        pictures = [self._grey((yield IDLE))]
        usual = STEP_PART * pictures[0].shape[1] / (pictures[0].shape[1] / 2)
        while (len(pictures) - 1) * usual < angle:
            pictures.append((yield from self._turned(step, 0)))
        sweep = Sweep(step, pictures)
        self.recorded.sweeps.append(sweep)
        return sweep

    def _guessed(self, sweep: Sweep) -> Steps[float]:
        """Return the focal length as the picture's stretching towards its edges tells it, roughly.

        It yields on the way, since the loop must not stand still meanwhile.
        """
        views = [self.view(picture) for picture in sweep.pictures]
        width = views[0].shape[1]
        pairs = []
        for i in range(0, len(views) - 1, max(1, len(views) // 8)):
            angle, score = shift(views[i], views[i + 1], width / 2, 1, 1.2)
            if score >= SURE:
                pairs.append((views[i], views[i + 1], angle * width / 2))
            yield IDLE
        if len(pairs) < 3:
            raise UserError(
                "the picture does not move as a turning view would: something else moves it (walking, being hit or "
                "killed, a menu), or there is little to see; go to a quiet place with more to see, and try again"
            )

        def score_of(focal: float, tilt: float) -> Steps[float]:
            tops = []
            for before, after, moved in pairs:
                turns = [Turn(moved / focal * part, tilt=tilt) for part in STRETCHES]
                tops.append(max(agreement(before, after, turn, focal) for turn in turns))
                yield IDLE
            return float(np.mean(tops))

        tilts: dict[float, float] = {}
        for tilt in TILTS:
            tilts[tilt] = yield from score_of(width / 2, tilt)
        tilt = max(tilts, key=tilts.__getitem__)
        scores: dict[float, float] = {}
        for focal in np.geomspace(0.23 * width, 0.96 * width, 20).tolist():
            scores[focal] = yield from score_of(focal, tilt)
        return max(scores, key=scores.__getitem__)

    def _up_and_down(self, step: int) -> Steps[None]:
        before = self._grey((yield IDLE))
        limit = before.shape[0] / before.shape[1]
        focal = before.shape[1] / 2
        counts = max(1, round(step * 0.75))
        for _ in range(TRIES + 3):
            down = yield from self._turned(0, counts)
            up = yield from self._turned(0, -counts)
            angle, score = shift(self.view(before), self.view(down), focal, 0, limit)
            if score >= SURE and abs(angle) * focal < 1.5:
                if counts >= 16 * step:
                    return  # it does not look up and down
                counts *= 2
            elif score >= SURE and 0.05 < abs(angle) / limit < 0.2:
                break
            elif score >= SURE:
                counts = max(1, round(counts * PITCH_PART * limit / abs(angle)))
            else:
                counts = max(1, counts // 2)
            before = up
        for sign in (1, -1, -1, 1) * (PITCHES // 4 + 1):
            after = yield from self._turned(0, sign * counts)
            self.recorded.pitches.append(Pair(before, after, sign * counts))
            before = after

    def _turned(self, dx: int, dy: int) -> Steps[Grey]:
        """Turn, and return the picture once it has come to rest."""
        before = self._grey((yield IDLE))
        yield from self._send(dx, dy)
        self.recorded.turns += 1
        return (yield from self._settled(before))

    def _send(self, dx: int, dy: int) -> Steps[None]:
        """Send a motion, again and again until the guards let it pass.

        :raises UserError: they never do.
        """
        start = time.monotonic()
        while True:
            frame = yield Action(dx, dy, 0)
            if self._carried:
                self._frame, self._motion_ns = frame, self._sent_ns
                return
            self.vetoed += 1
            if time.monotonic() - start > ARM_S:
                raise UserError(f"the guards let no motion pass for {ARM_S:.0f} s")
            for _ in range(3):
                yield IDLE

    def _rest(self) -> Steps[None]:
        yield from self._settled(self._grey(self._frame))

    def _settled(self, before: Grey) -> Steps[Grey]:
        """Return the first picture after the last motion that has come to rest.

        :param before: as it was before the motion.
        """
        frame, last = self._frame, before
        changed_ns = shown_ns = 0
        limit = most = 3 * self._noise + 0.5
        while True:
            now = self._grey(frame)
            step, far = change(last, now), change(before, now)
            most = max(most, far)
            limit = max(3 * self._noise + 0.5, 0.15 * most)
            if step > limit or (not shown_ns and far > limit):
                changed_ns = frame.at_ns
                if not shown_ns:
                    shown_ns = frame.at_ns
                    if self._live and frame.grab_ns > self._motion_ns:
                        self.recorded.delays_ns.append(shown_ns - self._motion_ns)
                        self._late_ns = int(np.percentile(self.recorded.delays_ns[-30:], LATE))
            last = now
            if not self._live:
                return now
            late = self._late_ns
            hold_ns = max(SHORTEST_HOLD_NS, min(PATIENCE_NS, late)) if late else FIRST_HOLD_NS
            if shown_ns and frame.at_ns - changed_ns > hold_ns:
                return now
            if not shown_ns and frame.at_ns - self._motion_ns > max(FIRST_HOLD_NS, min(PATIENCE_NS, 5 * late)):
                return now
            frame = yield IDLE

    def view(self, grey: Grey) -> View:
        """Return a picture as it is compared, without what is drawn over the scene."""
        mask = self.recorded.mask
        return View(contrast(grey), np.ones(grey.shape, np.float32) if mask is None else mask.astype(np.float32))

    def _grey(self, frame: Frame) -> Grey:
        code = cv2.COLOR_BGRA2GRAY if frame.pixels.shape[2] == 4 else cv2.COLOR_BGR2GRAY
        grey = cv2.cvtColor(frame.pixels, code)
        if frame.width > WIDTH:
            size = (WIDTH, round(frame.height * WIDTH / frame.width))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        return np.asarray(grey, np.uint8)


def change(a: Grey, b: Grey) -> float:
    """Return how much two pictures differ, grey levels, the mean over the picture."""
    return float(cv2.absdiff(a, b).mean())
