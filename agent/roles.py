"""The seven roles as protocols: what the loop calls on the object that a plugin's factory created.

The loop resolves each role once and calls these as plain methods: no hook dispatch on the hot path. Every role may also
have `close()`, called once when the run is over, in the reverse order of creation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

from agent.types import Action, Detections, Episode, Frame, FrameEvent, Measure, Target

Role = Literal["capture", "detector", "selection", "controller", "actuation", "observer", "guard"]
ROLES: tuple[Role, ...] = ("capture", "detector", "selection", "controller", "actuation", "observer", "guard")

T = TypeVar("T")


@dataclass(frozen=True)
class Roles(Generic[T]):
    """Something for each role: the profile's choices, or a run's."""

    capture: T
    detector: T
    selection: T
    controller: T
    actuation: T
    guards: tuple[T, ...] = ()
    observers: tuple[T, ...] = ()

    def items(self) -> Iterator[tuple[Role, T]]:
        """Yield role and thing, in the order in which one may need another."""
        yield "capture", self.capture
        yield "detector", self.detector
        yield "selection", self.selection
        yield "controller", self.controller
        yield "actuation", self.actuation
        yield from (("guard", guard) for guard in self.guards)
        yield from (("observer", observer) for observer in self.observers)


class Capture(Protocol):
    """Grabs frames."""

    def grab(self) -> Frame | None:
        """Return the next frame, or None when there are no more (the end of the footage).

        Live, it is called from the capture's own thread; in lock-step, from the loop's.
        """


@runtime_checkable
class OnDemandCapture(Capture, Protocol):
    """A capture that, where `on_demand` is true, is asked live when the loop is ready for a frame.

    Its picture is there at any time, as the screen's is: the later it is grabbed, the newer it is. Others grab ahead.
    """

    on_demand: bool


@runtime_checkable
class Environment(Protocol):
    """A capture that owns the world it shows: it knows the truth, keeps the score, and takes actions itself.

    An action given to `apply` takes effect when the world moves on, at the next `grab`.
    """

    names: tuple[str, ...]
    """The class names of the ground truth."""
    measures: tuple[Measure, ...]
    """What it keeps of an episode, the most important first."""
    step_s: float
    """Seconds of the environment's own time from one frame to the next in lock-step."""
    episodes: Sequence[Episode]
    """Finished episodes, oldest first."""

    def truth(self, frame: Frame) -> Detections:
        """Return the ground truth of a frame that it grabbed."""

    def apply(self, action: Action) -> None:
        """Take the action in at the world's next step; the last one before it counts. Any thread may call it."""


class Detector(Protocol):
    """Finds things in a frame."""

    names: tuple[str, ...]
    """The class names that `Detections.class_id` points into."""

    def detect(self, frame: Frame) -> Detections:
        """Return what is in the frame, in pixels of the frame.

        A detector may set `frame.preprocessed_ns` and `frame.inferred_ns` so that its stages are timed apart; where it
        sets neither, all of it counts as inference.
        """


@runtime_checkable
class Described(Protocol):
    """A detector that says what it runs, for reports."""

    def describe(self) -> Mapping[str, Any]:
        """Return `model` (`name` and `sha256`), `engine` and `precision` as resolved, as JSON has them."""


def described(detector: Detector) -> dict[str, Any]:
    """Return what a detector says that it runs: `model`, `engine` and `precision`, and nothing else that it may say."""
    said = detector.describe() if isinstance(detector, Described) else {}
    return {key: said[key] for key in ("model", "engine", "precision") if key in said}


@runtime_checkable
class FallsBack(Protocol):
    """A detector that may change to another network in mid-run."""

    def fallback(self) -> Mapping[str, Any]:
        """Return what it would change to and whether it did, as the report has it; asked when the run is over."""


class Selection(Protocol):
    """Picks the target."""

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        """Return the detection to aim at, or None when there is nothing to do."""


class Controller(Protocol):
    """Decides what the mouse does. The motions sent are the host's (`Context.history`)."""

    def decide(self, target: Target | None, frame: Frame) -> Action:
        """Return the action for this frame; change nothing that would have to be taken back if it is not sent."""

    def sent(self, action: Action, frame: Frame) -> None:
        """Take note of what was carried out: the decided action, or an idle one where it was held back.

        Called once after each `decide`.
        """


@runtime_checkable
class Stateful(Protocol):
    """A detector, selection or controller that keeps something from frame to frame."""

    def begin(self, episode: int) -> None:
        """Forget everything: a new episode begins. Called before its first frame, the run's first one included."""


class Actuation(Protocol):
    """Carries actions out. Only the interlock holds one."""

    def apply(self, action: Action) -> None:
        """Move by the action's counts, then press and release so that just its buttons are down."""

    def release(self) -> None:
        """Release every button.

        Called from any thread, at any time, more than once, even while `apply` hangs in another.
        """


class Lifeline(Protocol):
    """A process of an actuation's own that lets buttons go when the loop is silent, whatever the agent does."""

    def beat(self, now_ns: int) -> None:
        """Take note that the loop goes on; called in the loop, once a frame and while it waits for one."""

    def void_before_ns(self) -> int:
        """Return the time before which frames are void, since the process let go; one far ahead while it is gone."""


@runtime_checkable
class WatchedActuation(Actuation, Protocol):
    """An actuation that a lifeline watches over; one that reaches the desktop should be."""

    lifeline: Lifeline


class Observer(Protocol):
    """Sees everything, after the fact, on a thread of its own."""

    def observe(self, event: FrameEvent) -> None:
        """Take one frame's event; an exception here is counted and reported once, and stops nothing."""


class Guard(Protocol):
    """Can veto an action."""

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Return None to let the action pass, or the reason for a veto in a few words.

        `presses` is the mask of the action's buttons that are up now and would be pressed. Called in the loop before
        each action that moves or holds something, so it must be quick; what takes long (asking the window system,
        listing processes) belongs on a thread of the guard's own. A guard that raises has vetoed.
        """


@runtime_checkable
class CountingGuard(Guard, Protocol):
    """A guard that goes by what was carried out."""

    def carried_out(self, action: Action, presses: int, now_ns: int) -> None:
        """Take note of an action that every guard let pass and that was carried out."""
