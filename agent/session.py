"""One run, from a checked profile to its result: makes the parts, runs the loop, takes everything down."""

from __future__ import annotations

import gc
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.aim import AimController, how_to_calibrate
from agent.errors import UserError, said
from agent.hookspecs import Context, Duty, Maker, Role
from agent.loop import END_OF_FRAMES, Parts, Tally, run
from agent.machine import share
from agent.motion import View
from agent.observers import ObserverQueue
from agent.profile import Choice, LoadedProfile, Profile, choose
from agent.roles import Environment
from agent.safety import Interlock, StopFlag, Watchdog, chosen_actuation
from agent.types import Episode

NEEDED: dict[Role, tuple[str, ...]] = {
    "capture": ("grab",),
    "detector": ("detect", "names"),
    "selection": ("select",),
    "actuation": ("apply", "release"),
    "observer": ("observe",),
    "guard": ("check",),
}
"""What the loop will call on each role's object, asked for when it is made rather than frames later."""


@dataclass(frozen=True)
class Options:
    """What the command line sets over the profile."""

    live: bool = False
    footage: Path | None = None
    episodes: int | None = None
    seed: int | None = None
    duration_s: float | None = None
    show: bool = False
    overlay: Path | None = None
    record: Path | None = None
    trace: Path | None = None


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    profile: str
    mode: str
    tally: Tally
    names: tuple[str, ...]
    actions: int
    vetoes: dict[str, int]
    veto_reasons: dict[tuple[str, str], int]
    watchdog_trips: int
    observer_drops: int
    observer_failures: dict[str, int]
    episodes: list[Episode]
    ended: str
    signal: int = 0
    """The signal that ended the run, 0 when none did."""
    setup: dict[str, Any] = field(default_factory=dict)
    """The plugin and the settings of each role, and the seed."""
    error: Exception | None = None
    """What broke the run off half-way; all that was counted until then is in the result."""


Watch = Callable[[Tally], AbstractContextManager[Any]]
"""Shows how a run goes on while it does; entered when the loop starts, left when it ends."""


Change = Callable[[Parts, Context], Parts]
"""Puts something between the parts of a run, to measure it; whatever it does, the interlock stays."""


def play(loaded: LoadedProfile, options: Options, watch: Watch = nullcontext, change: Change | None = None) -> Result:
    """Run a profile to its end.

    :param watch: shows a lock-step run's progress; a live one is left alone, since drawing takes time from it.

    Whatever ends it (the footage, a limit, a signal, a panic, an exception), every button is up before
    this returns or raises, and all that was made is closed in the reverse order.

    :raises UserError: something that a plugin needs is missing, or an option does not fit the profile. What
        comes up once the loop runs, in whatever way, is in the result instead.
    """
    stop = StopFlag()
    plan = _plan(loaded, options)
    aim = loaded.profile.aim
    context = Context(
        folder=loaded.path.resolve().parent,
        seed=loaded.profile.seed if options.seed is None else options.seed,
        live=plan.reaches_desktop,
        lock_step=plan.lock_step,
        panic=stop.set,  # until there is an interlock there is nothing to disarm
        crosshair=loaded.profile.crosshair,
        profile=loaded.path.resolve(),
        episodes=options.episodes or loaded.profile.episodes,
        moves="dry-run" not in plan.actuation.maker.duties,
        view=View(aim.motions(), aim.focal_px if aim.calibrated and not plan.absolute else None),
    )
    if aim.method != "proportional" and not aim.calibrated:
        print(
            f"{loaded.path}: aim is not calibrated, so it is proportional: {how_to_calibrate(loaded.path)}",
            file=sys.stderr,
        )
    choices = [plan.capture, plan.detector, plan.selection, plan.actuation, *plan.guards, *plan.observers]
    check_all(choices, context)
    for choice in choices:
        prepare(choice, context)
    tally = Tally()
    error = None
    with ExitStack() as stack:
        caught = stack.enter_context(_signals(stop))
        stack.enter_context(share(loaded.profile.loop, loaded.path))
        parts, context = _make_parts(stack, plan, loaded.profile, context, stop)
        if change is not None:
            parts = replace(change(parts, context), interlock=parts.interlock)
        asked = options.episodes or (loaded.profile.episodes if options.footage is None else None)
        if asked and context.environment is None:
            raise UserError(
                f"{loaded.path}: episodes (--episodes) are those of a game that the agent runs, and the capture "
                f'"{plan.capture.maker.name}" has none; use duration_s (--duration)'
            )
        if not plan.lock_step:
            stack.callback(Watchdog(parts.interlock, loaded.profile.safety.watchdog_ms).close)
        try:
            with _no_collections(), watch(tally) if plan.lock_step else nullcontext():
                duration_s = options.duration_s or loaded.profile.duration_s
                patience_s = loaded.profile.safety.watchdog_ms / 1e3
                run(parts, tally, stop, plan.lock_step, duration_s, patience_s, loaded.profile.loop.max_fps)
        except Exception as raised:
            error = raised
            stop.set("an error")
        finally:
            caught.ending = True
            parts.interlock.disarm()
    return Result(
        profile=loaded.name,
        mode=plan.mode,
        tally=tally,
        names=context.names,
        actions=parts.interlock.actions,
        vetoes=parts.interlock.vetoes,
        veto_reasons=parts.interlock.reasons,
        watchdog_trips=parts.interlock.trips,
        observer_drops=parts.observers.dropped,
        observer_failures=parts.observers.failed,
        episodes=list(context.environment.episodes) if context.environment is not None else [],
        ended=_ended(stop, context),
        signal=caught.numbers[0] if caught.numbers else 0,
        setup={"seed": context.seed, **plan.described()},
        error=error,
    )


@dataclass(frozen=True)
class _Plan:
    """Which plugin fills each role of a run, the command line's wishes included."""

    capture: Choice
    detector: Choice
    selection: Choice
    actuation: Choice
    guards: tuple[Choice, ...]
    observers: tuple[Choice, ...]
    reaches_desktop: bool
    absolute: bool
    """Whether the profile's actuation is; a dry run writes down what that one would do."""
    lock_step: bool

    @property
    def mode(self) -> str:
        """What reports call it: a run that moves something real, or its own game in real time, is live."""
        if self.lock_step:
            return "lock-step"
        return "live" if self.reaches_desktop or self.actuation.maker.reaches == "own-game" else "dry-run"

    def described(self) -> dict[str, Any]:
        """Return the plugin and the settings of each role, as JSON has them."""

        def one(choice: Choice) -> dict[str, Any]:
            return {"plugin": choice.maker.name, **choice.settings.model_dump(mode="json")}

        single = {role: one(getattr(self, role)) for role in ("capture", "detector", "selection", "actuation")}
        return {**single, "guards": [one(c) for c in self.guards], "observers": [one(c) for c in self.observers]}


def _plan(loaded: LoadedProfile, options: Options) -> _Plan:
    find = loaded.catalogue.with_duty
    actuation, reaches_desktop = chosen_actuation(loaded, options.live, options.footage is not None)
    capture = loaded.capture
    if options.footage is not None:
        maker = find("capture", "recording")
        kept = capture.settings.model_dump(exclude={"path"}) if maker == capture.maker else {}
        capture = choose(loaded.catalogue, maker, "--footage", **kept, path=options.footage.resolve())
    observers = loaded.observers
    if options.show and not any("window" in choice.maker.duties for choice in observers):
        observers = (*observers, choose(loaded.catalogue, find("observer", "window"), "--show"))
    outputs: tuple[tuple[Duty, str, Path | None], ...] = (
        ("overlay", "--overlay", options.overlay),
        ("recorder", "--record", options.record),
        ("trace", "--trace", options.trace),
    )
    for duty, option, path in outputs:
        if path is not None:
            made = choose(loaded.catalogue, find("observer", duty), option, path=path.resolve())
            observers = (*observers, made)
    return _Plan(
        capture=capture,
        detector=loaded.detector,
        selection=loaded.selection,
        actuation=actuation,
        guards=tuple(choice for choice in loaded.guards if _stands(choice.maker, reaches_desktop, options)),
        observers=observers,
        reaches_desktop=reaches_desktop,
        absolute=loaded.actuation.maker.absolute,
        lock_step=loaded.profile.mode == "lock-step" or options.footage is not None,
    )


def _stands(guard: Maker, reaches_desktop: bool, options: Options) -> bool:
    """Tell whether a guard has a part in this run: none looks at a desktop that recorded frames are not of."""
    if options.footage is not None and "desktop" in guard.duties:
        return False
    return reaches_desktop or not guard.live_only


def _make_parts(
    stack: ExitStack, plan: _Plan, profile: Profile, context: Context, stop: StopFlag
) -> tuple[Parts, Context]:
    """Make what fills each role, in the order in which one may need another; return the last context too."""
    capture = _make(stack, "capture", plan.capture, context)
    context = replace(context, environment=capture if isinstance(capture, Environment) else None)
    detector = _make(stack, "detector", plan.detector, context)
    context = replace(context, names=tuple(detector.names))
    selection = _make(stack, "selection", plan.selection, context)
    interlock = Interlock(_make(stack, "actuation", plan.actuation, context), stop)
    stack.callback(interlock.disarm)
    context = replace(context, panic=interlock.panic)
    interlock.guarded_by([(choice.maker.name, _make(stack, "guard", choice, context)) for choice in plan.guards])
    observers = ObserverQueue(
        [(choice.maker.name, _make(stack, "observer", choice, context)) for choice in plan.observers],
        wants_pixels=any(choice.maker.wants_pixels for choice in plan.observers),
        wait=plan.lock_step,
    )
    stack.callback(observers.close)
    controller = AimController(profile.aim, plan.absolute, context.view.motions, context.names)
    return Parts(capture, detector, selection, controller, interlock, observers, context.moves), context


def _ended(stop: StopFlag, context: Context) -> str:
    if stop.reason == END_OF_FRAMES and context.environment is not None and context.episodes is not None:
        return f"{len(context.environment.episodes)} of {context.episodes} episodes played"
    return stop.reason


def check_all(choices: Iterable[Choice], context: Context) -> None:
    """Ask each plugin whether what its settings name is there.

    :raises UserError: something is not; all that is missing, a line each.
    """
    problems = []
    for choice in choices:
        if choice.maker.check is not None:
            try:
                with _named(choice):
                    choice.maker.check(choice.settings, context)
            except UserError as error:
                problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def prepare(choice: Choice, context: Context) -> None:
    """Let a plugin do what may take long before it is made.

    :raises UserError: it cannot be done.
    """
    if choice.maker.prepare is not None:
        with _named(choice):
            choice.maker.prepare(choice.settings, context, lambda text: print(text, file=sys.stderr))


@contextmanager
def _named(choice: Choice) -> Iterator[None]:
    """Say in an error which plugin it is about, and the line of the profile that names it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{choice.where}: {error}") from error
    except Exception as error:
        raise UserError(f'{choice.where}: the plugin "{choice.maker.name}" cannot be made: {said(error)}') from error


def _make(stack: ExitStack, role: Role, choice: Choice, context: Context) -> Any:
    with _named(choice):
        made = choice.maker.make(choice.settings, context)
        lacking = [name for name in NEEDED[role] if not hasattr(made, name)]
        if lacking:
            raise UserError(
                f'the plugin "{choice.maker.name}" made a {type(made).__name__} without {" and ".join(lacking)}; '
                f"the role {role} needs {', '.join(NEEDED[role])}"
            )
    close = getattr(made, "close", None)
    if callable(close):
        stack.callback(_close, choice, close)
    return made


def _close(choice: Choice, close: Callable[[], None]) -> None:
    """Close one plugin; what it raises must cost neither the others their turn nor the run its report."""
    try:
        close()
    except Exception as error:
        print(f'{choice.where}: the plugin "{choice.maker.name}" failed to close: {said(error)}', file=sys.stderr)


@dataclass
class Signals:
    """The signals that came, and whether the run is being taken down, which nothing may interrupt."""

    numbers: list[int] = field(default_factory=list)
    ending: bool = False


@contextmanager
def _signals(stop: StopFlag) -> Iterator[Signals]:
    """End the run on SIGINT, SIGTERM and SIGHUP at the end of its frame; a second one ends it at once."""
    caught = Signals()

    def handle(number: int, _frame: types.FrameType | None) -> None:
        if caught.numbers and not caught.ending:
            raise KeyboardInterrupt
        caught.numbers.append(number)
        stop.set("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector from walking everything that was made before the loop."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
