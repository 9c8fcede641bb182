"""Capture `tasks`: aim tasks in a rendered room, an environment that knows the truth and keeps the score.

It draws what the shipped Doom model finds, so that the whole loop takes part: capture, detector, selection, controller.
Targets are Freedoom's pictures, taken from the installed package vizdoom.
"""

from __future__ import annotations

import math
import time

import numpy as np

from agent.context import Context
from agent.factories import CaptureFactory, Suite
from agent.hookspecs import hookimpl
from agent.types import IDLE, LEFT, Action, Detections, Episode, Frame
from core.errors import UserError
from plugins.doom.game import MIN_HEIGHT_PX, NAMES
from plugins.tasks.scene import SPRITES, Drawn, Scene, Target
from plugins.tasks.score import Frames, scores
from plugins.tasks.settings import MEASURES, Settings
from plugins.tasks.tasks import MOTIONS, Flicks, Switched, Task, clamped, task

FOV_DEG, DEGREES_PER_COUNT = 90.0, 0.1
"""Of the room's camera and mouse, where the profile has measured none."""


class TasksCapture:
    """A room in which targets appear; lock-step or live, it goes on by one frame a grab.

    The same seed and actions give the same frames. Episode i is seeded with `seed + i`.

    :raises UserError: there is no ViZDoom.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        calibration = context.calibration
        if calibration.adapt or calibration.delay_ms:
            raise UserError(
                f"{context.profile}: the aim tasks show a motion in the next picture; set calibration.delay_ms to 0 "
                "and calibration.adapt to false for them"
            )
        fov = calibration.fov_deg or FOV_DEG
        focal = (calibration.view_width_px or settings.width) / 2 / math.tan(math.radians(fov) / 2)
        self._per_count = calibration.per_count or (DEGREES_PER_COUNT, DEGREES_PER_COUNT)
        self._settings, self._seed, self._limit = settings, context.seed, context.episodes
        self._scene = Scene(settings.width, settings.height, focal)
        self._crosshair = (context.crosshair[0] * settings.width, context.crosshair[1] * settings.height)
        self._pending = IDLE
        self._index = 0
        self._truths: dict[int, list[Drawn]] = {}
        self.names, self.measures, self.step_s = NAMES, MEASURES, 1 / settings.fps
        self.episodes: list[Episode] = []
        self._task: Task | None = None

    def grab(self) -> Frame | None:
        """Let a frame's time pass with the pending action, and return what the camera sees."""
        if self._task is not None:
            self._advance(self._task)
        if self._task is None:
            if self._limit is not None and len(self.episodes) >= self._limit:
                return None
            self._begin()
        assert self._task is not None
        grab_ns = time.perf_counter_ns()
        pixels, drawn = self._scene.draw(*self._view, self._task.targets)
        frame = Frame(pixels, self._index, grab_ns, time.perf_counter_ns(), episode=len(self.episodes))
        frame.at_ns = round(self._index * 1e9 * self.step_s) + 1
        self._truths = {self._index: drawn}
        self._index += 1
        return frame

    def truth(self, frame: Frame) -> Detections:
        """Return the targets in a frame that are large enough to be found."""
        boxes, classes = [], []
        for drawn in self._truths.get(frame.index, ()):
            box = self._scene.visible(drawn)
            if box is not None and box[3] - box[1] >= MIN_HEIGHT_PX:
                boxes.append(box)
                classes.append(SPRITES[drawn.target.sprite][1])
        if not boxes:
            return Detections.empty()
        return Detections(np.array(boxes, np.float32), np.ones(len(boxes), np.float32), np.array(classes, np.int32))

    def apply(self, action: Action) -> None:
        """Turn the camera with the next frame, and shoot if LEFT is down."""
        self._pending = action

    def _begin(self) -> None:
        seed = self._seed + len(self.episodes)
        s = self._settings
        self._task = task(s.scenario, np.random.default_rng([seed, 11]), s.seconds, s.flicks)
        self._frames = Frames(s.scenario in MOTIONS)
        self._view, self._start, self._pending = (0.0, 0.0), self._index, IDLE
        self._task.advance(0.0, self._view)

    def _advance(self, going_on: Task) -> None:
        action, self._pending = self._pending, IDLE
        right, down = self._view
        self._view = (right + action.dx * self._per_count[0], clamped(down + action.dy * self._per_count[1]))
        at_s = (self._index - self._start) * self.step_s
        more = going_on.advance(at_s, self._view)
        under = self._under_crosshair(going_on)
        if action.buttons & LEFT:
            self._frames.shot(under is not None)
            going_on.shot(under, self._view)
        self._count(at_s, going_on, under)
        if not more:
            self._end(going_on)

    def _under_crosshair(self, going_on: Task) -> Target | None:
        """Return the nearest target, which looks highest, that the crosshair is on."""
        for target in sorted(going_on.targets, key=lambda target: -target.height):
            drawn = self._scene.place(target, *self._view)
            if drawn is not None and self._scene.covers(drawn, *self._crosshair):
                return target
        return None

    def _count(self, at_s: float, going_on: Task, under: Target | None) -> None:
        errors = [(math.hypot(t.right - self._view[0], t.down - self._view[1]), id(t)) for t in going_on.targets]
        error, nearest = min(errors, default=(None, None))
        self._frames.frame(at_s, error, under is not None, nearest)

    def _end(self, ended: Task) -> None:
        flicks = ended.done if isinstance(ended, Flicks) else None
        found = scores(self._frames, flicks, isinstance(ended, Switched), abs(self._per_count[0]))
        self.episodes.append(Episode(self._settings.scenario, self._seed + len(self.episodes), found))
        self._task = None


SUITE = Suite(
    "flicks, targets that move, and several at once, in a room that is drawn",
    {"flick": "throughput_bit_s"} | dict.fromkeys(MOTIONS, "time_on_target") | {"switch": "hits_per_min"},
    variants={"": ("aim.vertical=true", "aim.search_deg_per_s=0", "aim.fire_pause_ms=200")},
    baselines=("oracle",),
    controllers=("predictive", "proportional", "pid", "kalman"),
    latencies_ms=(0, 50, 100, 200),
    human=(
        ("throughput_bit_s", 4.5, "a mouse on a desktop, 3.7 to 4.9 in nine studies: Soukoreff and MacKenzie 2004"),
    ),
)


@hookimpl
def reticle_capture() -> CaptureFactory:
    """Offer `tasks`."""
    return CaptureFactory(
        "tasks",
        TasksCapture,
        Settings,
        "aim tasks in a rendered room; knows the truth",
        class_names=NAMES,
        suites={"tasks": SUITE},
    )
