"""What a plugin offers: named factories, one kind a role.

A factory has a name, a settings schema and a function that creates the role's object from checked settings, so that the
host can list what is installed and reject a wrong profile before anything starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from agent.context import Context
from agent.roles import Role

Reach = Literal["desktop", "own-game", "nothing"]
"""What an actuation can move: the real mouse and keyboard, only a game that the capture started, or nothing."""

Output = Literal["window", "overlay", "recording", "trace", "rerun"]
"""What an observer gives that the host can be asked for by an option, so that it need not know plugins by name."""


class PluginSettings(BaseModel):
    """The base of a plugin's settings: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NoSettings(PluginSettings):
    """For a plugin without settings."""


@dataclass(frozen=True)
class Sample:
    """One frame of a data set and its truth.

    `pixels` uint8 (height, width, 3) BGR; `boxes` float32 (n, 4) xyxy in pixels; `classes` int32 (n,) into the
    capture's names; `hidden` bool (n,): there, but showing too little to be found; `scene` says where it was taken.
    """

    pixels: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    classes: NDArray[np.int32]
    hidden: NDArray[np.bool_]
    scene: str = ""


Tell = Callable[[dict[str, Any]], None]
"""Takes what a game in a window tells while it is played: `{"ready": ns, "measures": [{name, description, ...}]}` once
the window is there; for each step `{"at_ns", "boxes", "classes"}`, the ground truth in pixels of the game's picture;
`{"episode": {"scenario", "seed", "scores"}}` at the end of each. JSON as it is."""


@dataclass(frozen=True)
class PictureOracle:
    """How a game whose window tells no truth shows it in its picture, so that a detector can read it off.

    :param detector: the name of the detector that does. Settings that it shares with the game are as the game has them.
    :param settings: the game's settings with which its picture shows it.
    """

    detector: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Published:
    """A result of others, beside which a suite's table stands.

    :param who: the method.
    :param scenario: of the suite.
    :param measure: the environment's measure that it is of.
    :param actions: what it could do at each step, as that decides what it could reach.
    :param source: where it was published.
    """

    who: str
    scenario: str
    measure: str
    value: float
    actions: str
    source: str


@dataclass(frozen=True)
class Suite:
    """Scenarios of a game that are played and tabled together, as `arena --suite` names them.

    :param summary: one line.
    :param scenarios: values of the capture's setting `scenario`, and the environment's measure that each is about.
    :param variants: by name, what of the profile is set (as `--set` takes it) for each way in which all are played.
    :param baselines: who plays beside the agent, where the command line does not say.
    :param controllers: with which, likewise; the profile's own by default.
    :param latencies_ms: injected, likewise.
    :param published: results of others.
    :param human: what people reach: the measure, its value, and where that stands.
    """

    summary: str
    scenarios: Mapping[str, str]
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"": ()})
    baselines: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ()
    latencies_ms: tuple[float, ...] = (0,)
    published: tuple[Published, ...] = ()
    human: tuple[tuple[str, float, str], ...] = ()


@dataclass(frozen=True)
class Factory:
    """What the factories of all roles have.

    :param name: what a profile calls it.
    :param create: called once with the checked settings and the context; returns the role's object (see
        `agent.roles`). It raises `UserError` for what the user can put right.
    :param settings: the schema of its settings, a `PluginSettings` with a description on each field.
    :param summary: one line for `agent.py plugins`.
    :param check: called with the settings and the context before anything is created, and by `agent.py check`; raises
        `UserError` when what the settings name (a file, a model) is not there. It must be quick.
    :param prepare: called with the settings and the context once the checks are through and before anything is created:
        for what may take long (a signal then ends the agent at once). It reports by logging.
    """

    role: ClassVar[Role]
    methods: ClassVar[tuple[str, ...]]
    """What the role's object must have, asked for when it is created rather than frames later."""

    name: str
    create: Callable[[Any, Context], Any]
    settings: type[PluginSettings] = NoSettings
    summary: str = ""
    check: Callable[[Any, Context], None] | None = None
    prepare: Callable[[Any, Context], None] | None = None

    def __post_init__(self) -> None:
        kind = type(self).__name__
        if not callable(self.create):
            raise TypeError(f"{kind} {self.name!r}: create must be a class or a function, not {self.create!r}")
        if not (isinstance(self.settings, type) and issubclass(self.settings, PluginSettings)):
            raise TypeError(
                f"{kind} {self.name!r}: settings must be a subclass of PluginSettings, not {self.settings!r}"
            )


@dataclass(frozen=True)
class CaptureFactory(Factory):
    """Creates captures.

    :param plays_recordings: it plays what `--footage` names, by its setting `path`.
    :param class_names: what the classes of its samples and of its ground truth are called.
    :param collect: for one that knows the truth: called with the settings, a number of frames, a seed and whether they
        are for validation; yields that many `Sample`s of scenes as varied as it has.
    :param portion: how many frames one call of `collect` is asked for: more where a game takes long to start.
    :param game: for one whose game can be played in a window: called with the settings, the context, a function to call
        before the first episode (it waits until whoever plays is ready) and a `Tell`; plays the context's episodes in
        real time from the mouse and keyboard, and returns.
    :param still: for a `game`, the settings with which nothing disturbs whoever measures the mouse in it.
    :param oracle: for a `game` that does not tell its ground truth, how to see it.
    :param suites: for one that knows the truth and has a setting `scenario`: what `arena --suite` plays, by name.
    """

    role: ClassVar[Role] = "capture"
    methods: ClassVar[tuple[str, ...]] = ("grab",)

    plays_recordings: bool = False
    class_names: tuple[str, ...] = ()
    collect: Callable[[Any, int, int, bool], Iterator[Sample]] | None = None
    portion: int = 40
    game: Callable[[Any, Context, Callable[[], None], Tell], None] | None = None
    still: Mapping[str, Any] = field(default_factory=dict)
    oracle: PictureOracle | None = None
    suites: Mapping[str, Suite] = field(default_factory=dict)


@dataclass(frozen=True)
class DetectorFactory(Factory):
    """Creates detectors.

    :param runs_models: it runs any model that its settings name, as `detect` and `collect --autolabel` do.
    :param named_classes: called with the settings and the context; returns its class names, for what can be checked
        before it is created. It must be quick, and raises `UserError` as `check` does.
    """

    role: ClassVar[Role] = "detector"
    methods: ClassVar[tuple[str, ...]] = ("detect", "names")

    runs_models: bool = False
    named_classes: Callable[[Any, Context], tuple[str, ...]] | None = None


@dataclass(frozen=True)
class SelectionFactory(Factory):
    """Creates selections."""

    role: ClassVar[Role] = "selection"
    methods: ClassVar[tuple[str, ...]] = ("select",)


@dataclass(frozen=True)
class ControllerFactory(Factory):
    """Creates controllers."""

    role: ClassVar[Role] = "controller"
    methods: ClassVar[tuple[str, ...]] = ("decide", "sent")


@dataclass(frozen=True)
class ActuationFactory(Factory):
    """Creates actuations.

    :param reaches: `desktop` when it can move the real mouse or press real keys (the default, so that forgetting to say
        so is safe), `own-game` when it reaches only a game that the capture started itself, `nothing` when it only
        writes down.
    :param absolute: it goes to `Action.point` rather than by counts.
    :param dry_run: it only writes down, and takes the place of others in a dry run.
    """

    role: ClassVar[Role] = "actuation"
    methods: ClassVar[tuple[str, ...]] = ("apply", "release")

    reaches: Reach = "desktop"
    absolute: bool = False
    dry_run: bool = False

    def __post_init__(self) -> None:
        Factory.__post_init__(self)
        if self.reaches not in get_args(Reach):
            raise ValueError(
                f"ActuationFactory {self.name!r}: reaches must be one of {get_args(Reach)}, not {self.reaches!r}"
            )


@dataclass(frozen=True)
class ObserverFactory(Factory):
    """Creates observers.

    :param output: what it gives that an option asks for: `window` (`--show`), and by its setting `path` `overlay`
        (`--overlay`), `recording` (`--record`), `trace` (`--trace`) and
        `rerun` (`--rerun`).
    :param wants_pixels: it needs the picture, so the loop copies each frame for it.
    """

    role: ClassVar[Role] = "observer"
    methods: ClassVar[tuple[str, ...]] = ("observe",)

    output: Output | None = None
    wants_pixels: bool = False

    def __post_init__(self) -> None:
        Factory.__post_init__(self)
        if self.output is not None and self.output not in get_args(Output):
            raise ValueError(
                f"ObserverFactory {self.name!r}: output must be one of {get_args(Output)}, not {self.output!r}"
            )


@dataclass(frozen=True)
class GuardFactory(Factory):
    """Creates guards.

    :param arm_key: for one that holds the arm key: called with its settings, returns the key's name.
    :param panics: it listens for the panic key.
    :param max_age_ms: for one that vetoes old frames, by a setting of the same name: called with its settings, returns
        it, milliseconds.
    :param watches_desktop: it looks at the desktop, so it has no part in a run on recorded frames.
    :param live_only: it is left out of a run that cannot move anything real.
    """

    role: ClassVar[Role] = "guard"
    methods: ClassVar[tuple[str, ...]] = ("check",)

    arm_key: Callable[[Any], str] | None = None
    panics: bool = False
    max_age_ms: Callable[[Any], float] | None = None
    watches_desktop: bool = False
    live_only: bool = False


FACTORIES: dict[Role, type[Factory]] = {
    factory.role: factory
    for factory in (
        CaptureFactory,
        DetectorFactory,
        SelectionFactory,
        ControllerFactory,
        ActuationFactory,
        ObserverFactory,
        GuardFactory,
    )
}
"""The kind of factory that each role's hook returns."""
