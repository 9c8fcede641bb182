"""The plugin contract: one class of hook specs a role, each hook returning the makers of that role.

A plugin is a module or an object with some of these hooks. Each hook is called once, at start, before
the profile is read; it returns a `Maker` or a list of them, which the host lists (`agent.py plugins`) and
whose settings it checks before anything starts. The maker of each role that the profile names is then
called once. A hook that raises stops the start with one sentence that names the plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pluggy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from agent.motion import Motions, View
from agent.roles import Environment

PROJECT = "reticle"
ENTRY_POINT_GROUP = "reticle.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Role = Literal["capture", "detector", "selection", "actuation", "observer", "guard"]
ROLES: tuple[Role, ...] = ("capture", "detector", "selection", "actuation", "observer", "guard")

Duty = Literal["recording", "window", "overlay", "recorder", "trace", "dry-run", "model", "arm", "panic", "desktop"]
"""What the host itself may look for in a maker, so that it need not know plugins by name:
`recording`: a capture that reads what `--footage` names, by its setting `path`;
`window`: the observer behind `--show`; `overlay`, `recorder`, `trace`: those behind `--overlay`, `--record` and
`--trace`, by their setting `path`; `dry-run`: the actuation that only writes down;
`model`: the detector behind `detect`, which runs any model given by its settings;
`arm`, `panic`: a guard that holds the arm key or listens for the panic key; `desktop`: a guard that looks at the
desktop, which has no part in a run on recorded frames."""


Reach = Literal["desktop", "own-game", "nothing"]
"""What an actuation can move: the real mouse and keyboard, only a game that the capture started, or nothing."""


class PluginSettings(BaseModel):
    """The base of a plugin's settings: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoSettings(PluginSettings):
    """For a plugin without settings."""


@dataclass(frozen=True)
class Context:
    """What a maker may know of the run it is made for."""

    folder: Path
    """The profile's folder; relative paths in settings count from here."""
    seed: int
    live: bool
    """Whether the real mouse and keyboard may be reached."""
    lock_step: bool
    """Whether capture waits for the loop; otherwise time is real, and a recording keeps its own pace."""
    panic: Callable[[str], None]
    """Disarms at once, releases every button and ends the run; takes the reason; any thread may call it."""
    crosshair: tuple[float, float] = (0.5, 0.5)
    """Where the crosshair is, as fractions of the frame's width and height."""
    profile: Path | None = None
    """The profile's file; None outside a run."""
    episodes: int | None = None
    """An environment gives no more frames after so many episodes; None means it goes on."""
    environment: Environment | None = None
    """The capture, where it is an environment; None for captures and when there is none."""
    names: tuple[str, ...] = ()
    """The detector's class names; empty for captures and detectors."""
    moves: bool = True
    """Whether what the hand does can move what the capture shows: not in a dry run."""
    view: View = field(default_factory=lambda: View(Motions(0), None))
    """Where the view points by what the hand has done, for selections that look past the agent's own turning."""

    def path(self, text: str | Path) -> Path:
        """Return a path from the settings, relative ones counted from the profile's folder."""
        return self.folder / Path(text).expanduser()


@dataclass(frozen=True)
class Sample:
    """One frame of a data set and its truth.

    `pixels` uint8 (height, width, 3) BGR; `boxes` float32 (n, 4) xyxy in pixels; `classes` int (n,) into the capture's
    names; `hidden` bool (n,): there, but showing too little to be found; `scene` says where it was taken.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int32]
    hidden: NDArray[np.bool_]
    scene: str = ""


Tell = Callable[[dict[str, Any]], None]
"""Takes what a game in a window tells while it is played: `{"ready": ns}` once the window is there; for each step
`{"at_ns", "tic", "kills", "boxes", "classes"}`, the ground truth in pixels of the game's picture; `{"episode": {...}}`
at the end of each. JSON as it is."""


@dataclass(frozen=True)
class Maker:
    """One thing a plugin offers for a role.

    :param name: what a profile calls it.
    :param make: called once with the checked settings and the context; returns the role's object (see
        agent/roles.py). It raises `UserError` for what the user can put right.
    :param settings: the schema of its settings, a `PluginSettings` with a description on each field.
    :param summary: one line for `agent.py plugins`.
    :param duties: what the host may use it for by itself.
    :param reaches: actuation only: `desktop` when it can move the real mouse or press real keys (the
        default, so that forgetting to say so is safe), `own-game` when it reaches only a game that the
        capture started itself, `nothing` when it only writes down.
    :param absolute: actuation only: it goes to `Action.point` rather than by counts.
    :param wants_pixels: observer only: it needs the picture, so the loop copies each frame for it.
    :param live_only: guard only: it is left out of a run that cannot move anything real.
    :param names: capture only: what its samples' classes are called.
    :param collect: capture only, for one that knows the truth: called with a number of frames, a seed and whether they
        are those held out for scoring; yields that many `Sample`s of scenes as varied as it has.
    :param game: capture only, for one whose game can be played in a window: called with the settings, the context, what
        to call before the first episode (it waits until whoever plays is ready) and a `Tell`; plays the context's
        episodes in real time from the mouse and keyboard, and returns.
    :param prepare: called with the settings, the context and what takes a sentence for the user, once the checks are
        through and before anything is made: for what may take long (a signal then ends the agent at once).
    :param check: called with the settings and the context before anything is made, and by `agent.py check`;
        raises `UserError` when what the settings name (a file, a model) is not there. It must be quick.
    """

    name: str
    make: Callable[[Any, Context], Any]
    settings: type[PluginSettings] = NoSettings
    summary: str = ""
    duties: frozenset[Duty] = field(default=frozenset())
    reaches: Reach = "desktop"
    absolute: bool = False
    wants_pixels: bool = False
    live_only: bool = False
    names: tuple[str, ...] = ()
    collect: Callable[[int, int, bool], Iterator[Sample]] | None = None
    game: Callable[[Any, Context, Callable[[], None], Tell], None] | None = None
    prepare: Callable[[Any, Context, Callable[[str], None]], None] | None = None
    check: Callable[[Any, Context], None] | None = None

    def __post_init__(self) -> None:
        if not callable(self.make):
            raise TypeError(f"Maker {self.name!r}: make must be a class or a function, not {self.make!r}")
        if not (isinstance(self.settings, type) and issubclass(self.settings, PluginSettings)):
            raise TypeError(
                f"Maker {self.name!r}: settings must be a subclass of PluginSettings, not {self.settings!r}"
            )
        if self.reaches not in get_args(Reach):
            raise ValueError(f"Maker {self.name!r}: reaches must be one of {get_args(Reach)}, not {self.reaches!r}")
        if not set(self.duties) <= set(get_args(Duty)):
            raise ValueError(f"Maker {self.name!r}: duties must be some of {get_args(Duty)}, not {self.duties!r}")


Makers = Maker | Sequence[Maker]


class CaptureSpecs:
    """Screen -> Frame."""

    @hookspec
    def reticle_capture(self) -> Makers:
        """Offer captures: objects with `grab() -> Frame | None`.

        :return: a maker or a list of makers; what they make is closed at the end of the run.
        """
        raise AssertionError("a spec is never called")


class DetectorSpecs:
    """Frame -> Detections."""

    @hookspec
    def reticle_detector(self) -> Makers:
        """Offer detectors: objects with `names` and `detect(frame) -> Detections`.

        :return: a maker or a list of makers; a detector that raises ends the run, buttons up.
        """
        raise AssertionError("a spec is never called")


class SelectionSpecs:
    """Detections -> Target."""

    @hookspec
    def reticle_selection(self) -> Makers:
        """Offer selections: objects with `select(detections, frame) -> Target | None`.

        :return: a maker or a list of makers; a selection that raises ends the run, buttons up.
        """
        raise AssertionError("a spec is never called")


class ActuationSpecs:
    """Action -> mouse."""

    @hookspec
    def reticle_actuation(self) -> Makers:
        """Offer actuations: objects with `apply(action)` and `release()`, held by the interlock alone.

        :return: a maker or a list of makers. Without `--live` the maker of one that reaches the desktop
            is never called; one that raises while acting ends the run after `release()`.
        """
        raise AssertionError("a spec is never called")


class ObserverSpecs:
    """All of the above, after the fact."""

    @hookspec
    def reticle_observer(self) -> Makers:
        """Offer observers: objects with `observe(event)`, called on a thread of their own.

        :return: a maker or a list of makers; an observer that is slow loses events, one that raises is
            counted and said once; neither delays or stops the loop.
        """
        raise AssertionError("a spec is never called")


class GuardSpecs:
    """The moment before an action."""

    @hookspec
    def reticle_guard(self) -> Makers:
        """Offer guards: objects with `check(action, presses, frame, now_ns) -> str | None`.

        :return: a maker or a list of makers; a guard that raises has vetoed.
        """
        raise AssertionError("a spec is never called")


SPECS = (CaptureSpecs, DetectorSpecs, SelectionSpecs, ActuationSpecs, ObserverSpecs, GuardSpecs)
