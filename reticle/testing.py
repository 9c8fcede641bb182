"""For the tests of a plugin: small real parts to drive it with, and a conformance check for each role.

`conforms(factory, **settings)` creates the role's object and sees that it does what its role asks for: types, shapes,
dtypes, times, that it decides the same twice, and that it gets along with an empty frame. It raises AssertionError with
a sentence that says what is wrong.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.border import Border, PluginError
from agent.context import Context, outside_a_run
from agent.factories import ActuationFactory, Factory
from agent.profile import choose
from agent.roles import Stateful
from agent.session import create
from agent.types import IDLE, LEFT, Action, Detections, Episode, Frame, FrameEvent, Measure, Target

WIDTH, HEIGHT = 64, 48
PERIOD_NS = 16_666_667
"""From one frame to the next."""
FRAMES = 8


def context(**changes: Any) -> Context:
    """Return the context of a dry lock-step run in the working folder, with the class `thing`."""
    return replace(outside_a_run(Path()), names=("thing",), **changes)


def frame(index: int = 0, width: int = WIDTH, height: int = HEIGHT, **changes: Any) -> Frame:
    """Return a frame of a moving pattern, uint8 (height, width, 3) BGR, `index` periods after the first."""
    now = time.perf_counter_ns()
    rows, columns = np.mgrid[:height, :width]
    grey = ((columns + 3 * index) * 4 + rows * 2) % 256
    pixels = np.repeat(grey[:, :, None], 3, axis=2).astype(np.uint8)
    return Frame(**{"pixels": pixels, "index": index, "grab_ns": now, "grabbed_ns": now,
                    "at_ns": 1 + index * PERIOD_NS, **changes})  # fmt: skip


def detections(*boxes: tuple[float, float, float, float], classes: Sequence[int] | None = None) -> Detections:
    """Return detections of boxes (xyxy, pixels), of class 0 unless `classes` says otherwise."""
    n = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(n, 4),
        np.linspace(0.9, 0.5, n, dtype=np.float32),
        np.array([0] * n if classes is None else classes, np.int32),
    )


def target(x: float, y: float = 0.0, half: float = 5.0, frame: Frame | None = None) -> Target:
    """Return a target whose aim error is (x, y) pixels, in a box of `half` its size each way."""
    middle_x, middle_y = ((frame.width if frame else WIDTH) / 2, (frame.height if frame else HEIGHT) / 2)
    aim_x, aim_y = middle_x + x, middle_y + y
    return Target((aim_x - half, aim_y - half, aim_x + half, aim_y + half), 0, 0.9, aim_x, aim_y, x, y)


class FakeCapture:
    """Gives `count` frames of `frame`, then none."""

    def __init__(self, count: int = FRAMES) -> None:
        self._left = count
        self._index = 0

    def grab(self) -> Frame | None:
        """Return the next frame."""
        if not self._left:
            return None
        self._left -= 1
        self._index += 1
        return frame(self._index - 1)


class FakeEnvironment(FakeCapture):
    """A world of one target that wanders to the right; it remembers the actions it was given."""

    names: tuple[str, ...] = ("thing",)
    measures = (Measure("steps", "Frames that were grabbed."),)
    step_s = PERIOD_NS / 1e9

    def __init__(self, count: int = FRAMES) -> None:
        super().__init__(count)
        self.episodes: list[Episode] = []
        self.actions: list[Action] = []

    def truth(self, frame: Frame) -> Detections:
        """Return the target's box."""
        x = 10.0 + frame.index
        return detections((x, 10, x + 10, 20))

    def apply(self, action: Action) -> None:
        """Remember the action."""
        self.actions.append(action)


class FakeDetector:
    """Finds one box that wanders to the right."""

    names: tuple[str, ...] = ("thing",)

    def detect(self, frame: Frame) -> Detections:
        """Return the box."""
        x = float(frame.index % 40)
        return detections((x, 10, x + 10, 20))


class FakeActuation:
    """Remembers what it was told, and which buttons are down."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.down = 0
        self.releases = 0

    def apply(self, action: Action) -> None:
        """Remember the action."""
        self.actions.append(action)
        self.down = action.buttons

    def release(self) -> None:
        """Release every button."""
        self.down = 0
        self.releases += 1


def conforms(factory: Factory, given: Context | None = None, **settings: Any) -> None:
    """See that what a factory creates does what its role asks for.

    :param given: the context it is created with; one that suits the role by default.
    :param settings: as a profile has them.
    :raises AssertionError: it does not, and how.
    :raises UserError: the settings are wrong, or it cannot be created with them.
    """
    base = given or context(environment=FakeEnvironment())
    choice = choose(factory, f"{factory.role} {factory.name}", **settings)
    if factory.check is not None:
        factory.check(choice.settings, base)
    assert factory.summary, f"{choice.where}: give it a summary, one line for `agent.py plugins`"
    for name, field in factory.settings.model_fields.items():
        assert field.description, f"{choice.where}: the setting {name} has no description"

    def make() -> Any:
        return create(choice, base)

    try:
        _CHECKS[factory.role](choice.where, factory, make, base)
    except PluginError as error:
        raise AssertionError(str(error)) from error


def _capture(where: str, factory: Factory, make: Callable[[], Any], base: Context) -> None:
    border = _border(where, ("thing",))
    capture = make()
    try:
        last = -1
        for _ in range(FRAMES):
            grabbed = capture.grab()
            if grabbed is None:
                break
            border.frame(grabbed)
            assert grabbed.index > last, f"{where}: frames are numbered upwards, and {grabbed.index} follows {last}"
            last = grabbed.index
    finally:
        _close(capture)


def _detector(where: str, factory: Factory, make: Callable[[], Any], base: Context) -> None:
    detector = make()
    border = _border(where, tuple(detector.names))
    try:
        empty = frame(pixels=np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        for shown in (empty, frame(1), frame(2, pixels=np.zeros((HEIGHT, WIDTH, 4), np.uint8)), frame(3)):
            _begin(detector)
            before = shown.pixels.copy()
            first = detector.detect(shown)
            border.detections(first, shown)
            kept = (first.xyxy.copy(), first.confidence.copy(), first.class_id.copy())
            assert np.array_equal(before, shown.pixels), f"{where}: detect must not change the frame's pixels"
            _begin(detector)
            again = detector.detect(shown)
            same = all(
                np.array_equal(a, b) for a, b in zip(kept, (again.xyxy, again.confidence, again.class_id), strict=True)
            )
            assert same, f"{where}: detect finds something else in the same frame the second time"
    finally:
        _close(detector)


def _selection(where: str, factory: Factory, make: Callable[[], Any], base: Context) -> None:
    border = _border(where, base.names)

    def chosen() -> list[Target | None]:
        selection = make()
        _begin(selection)
        found = []
        for index in range(FRAMES):
            shown = frame(index)
            boxes = [(5.0 + index, 5.0, 15.0 + index, 20.0), (40.0, 10.0, 60.0, 30.0)] if index else []
            picked = selection.select(detections(*boxes), shown)
            border.target(picked)
            if picked is not None:
                assert boxes, f"{where}: select must return None where there are no detections, not {picked}"
                assert any(np.allclose(picked.box, box) for box in boxes), (
                    f"{where}: {picked.box} is no detection's box"
                )
            found.append(picked)
        _close(selection)
        return found

    assert chosen() == chosen(), f"{where}: select picks something else from the same detections the second time"


def _controller(where: str, factory: Factory, make: Callable[[], Any], base: Context) -> None:
    border = _border(where, base.names)

    def decided() -> list[Action]:
        controller = make()
        actions = []
        for episode in range(2):
            _begin(controller, episode)
            for index in range(FRAMES):
                shown = frame(index)
                action = controller.decide(None if index % 4 == 0 else target(3.0 * index, -index), shown)
                border.action(action)
                actions.append(action)
                controller.sent(IDLE if index % 3 == 0 else action, shown)
        _close(controller)
        return actions

    assert decided() == decided(), f"{where}: decide gives other actions for the same targets the second time"


def _actuation(where: str, factory: Factory, make: Callable[[], Any], base: Context) -> None:
    assert isinstance(factory, ActuationFactory)
    assert factory.reaches != "desktop", (
        f"{where}: it reaches the desktop, and a test must not move the mouse of whoever runs it; test its parts, or "
        "say what else it reaches"
    )
    actuation = make()
    try:
        for action in (Action(3, -2), Action(0, 0, LEFT), Action(1, 1, LEFT), Action(0, 0, 0, (10, 10))):
            actuation.apply(action)
        thread = threading.Thread(target=actuation.release)
        thread.start()
        thread.join(5)
        assert not thread.is_alive(), f"{where}: release hangs when another thread calls it"
        actuation.release()
    finally:
        _close(actuation)


def _observer(where: str, factory: Factory, make: Callable[[], Any], base: Context) -> None:
    observer = make()
    try:
        for event in events():
            before = None if event.pixels is None else event.pixels.copy()
            observer.observe(event)
            assert before is None or (event.pixels is not None and np.array_equal(before, event.pixels)), (
                f"{where}: observe must not draw in the event"
            )
    finally:
        _close(observer)


def _guard(where: str, factory: Factory, make: Callable[[], Any], base: Context) -> None:
    guard = make()
    try:
        for presses in (0, LEFT):
            shown = frame()
            reason = guard.check(Action(5, 0, presses), presses, shown, shown.grab_ns + 1_000_000)
            assert reason is None or (isinstance(reason, str) and reason), (
                f"{where}: check must return None or a reason in words, not {reason!r}"
            )
    finally:
        _close(guard)


def events(count: int = 3) -> Iterable[FrameEvent]:
    """Yield events as an observer that wants pixels gets them: with and without detections, target and veto."""
    for index in range(count):
        shown = frame(index)
        now = time.perf_counter_ns()
        shown.taken_ns = shown.preprocessed_ns = shown.inferred_ns = shown.decoded_ns = now
        shown.selected_ns = shown.acted_ns = now
        found = detections((5, 5, 20, 20)) if index else Detections.empty()
        picked = target(-20.0, frame=shown) if index else None
        veto = ("staleness", "too old") if index == 1 else None
        yield FrameEvent(shown, found, picked, Action(index, 0), not veto, not veto, veto, shown.pixels.copy())


def _border(where: str, names: tuple[str, ...]) -> Border:
    return Border(dict.fromkeys(("capture", "detector", "selection", "controller"), where), names)


def _begin(role: Any, episode: int = 0) -> None:
    if isinstance(role, Stateful):
        role.begin(episode)


def _close(role: Any) -> None:
    close = getattr(role, "close", None)
    if callable(close):
        close()


_CHECKS: dict[str, Callable[[str, Factory, Callable[[], Any], Context], None]] = {
    "capture": _capture,
    "detector": _detector,
    "selection": _selection,
    "controller": _controller,
    "actuation": _actuation,
    "observer": _observer,
    "guard": _guard,
}
