"""The six roles as protocols: what the loop calls on the object that a plugin's maker returned.

The loop resolves each role once and calls these as plain methods: no hook dispatch on the hot path.
Every role may also have `close()`, called once when the run is over, in the reverse order of making.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from agent.types import Action, Detections, Episode, Frame, FrameEvent, Target


class Capture(Protocol):
    """Grabs frames.

    One that has an attribute `on_demand` that is true is asked, live, when the loop is ready for a frame: its picture
    is there at any time, and the later it is grabbed the newer it is. The others grab ahead.
    """

    def grab(self) -> Frame | None:
        """Return the next frame, or None when there are no more (the end of the footage).

        Live, it is called from the capture's own thread; in lock-step, from the loop's.
        """


@runtime_checkable
class Environment(Protocol):
    """A capture that owns the world it shows: it knows the truth and takes actions itself.

    An action given to `apply` takes effect when the world moves on, at the next `grab`.
    """

    names: tuple[str, ...]
    episodes: Sequence[Episode]
    """Finished episodes, oldest first."""

    def truth(self, frame: Frame) -> Detections:
        """Return the ground truth of a frame that it grabbed."""

    def apply(self, action: Action) -> None:
        """Take the action in at the world's next step; the last one before it counts."""


class Controller(Protocol):
    """Decides what the hand does; the host's own, no plugin's."""

    def act(self, target: Target | None, frame: Frame) -> Action:
        """Return the action for this frame."""

    def vetoed(self) -> None:
        """Take the last action back: it was not carried out."""


class Detector(Protocol):
    """Finds things in a frame."""

    names: tuple[str, ...]
    """The class names that `Detections.class_id` points into."""

    def detect(self, frame: Frame) -> Detections:
        """Return what is in the frame, in pixels of the frame.

        A detector may set `frame.preprocessed_ns` and `frame.inferred_ns` so that its stages are timed
        apart; where it sets neither, all of it counts as inference.
        """


class Selection(Protocol):
    """Picks the target."""

    def select(self, detections: Detections, frame: Frame) -> Target | None:
        """Return the detection to aim at, or None when there is nothing to do."""


class Actuation(Protocol):
    """Carries actions out. Only the interlock holds one."""

    def apply(self, action: Action) -> None:
        """Move by the action's counts, then press and release so that just its buttons are down."""

    def release(self) -> None:
        """Let every button go.

        Called from any thread, at any time, more than once, even while `apply` hangs in another.
        """


class Observer(Protocol):
    """Sees everything, after the fact, on a thread of its own."""

    def observe(self, event: FrameEvent) -> None:
        """Take one frame's event; an exception here is counted and printed once, and stops nothing."""


class Guard(Protocol):
    """Can veto an action."""

    def check(self, action: Action, presses: int, frame: Frame, now_ns: int) -> str | None:
        """Return None to let the action pass, or the reason for a veto in a few words.

        `presses` is the mask of the action's buttons that are up now and would be pressed.
        Called in the loop before each action that moves or holds something, so it must be quick; what
        takes long (asking the window system, listing processes) belongs on a thread of the guard's own.
        A guard that raises has vetoed.
        """
