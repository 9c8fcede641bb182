"""One run, from a checked profile to its result: makes the parts, runs the loop, takes everything down."""

from __future__ import annotations

import gc
import signal
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.aim import AimController
from agent.errors import UserError
from agent.hookspecs import Context
from agent.loop import END_OF_FRAMES, Parts, Tally, run
from agent.observers import ObserverQueue
from agent.profile import Choice, LoadedProfile, choose
from agent.roles import Environment
from agent.safety import Interlock, StopFlag, Watchdog, chosen_actuation
from agent.types import Episode


@dataclass(frozen=True)
class Options:
    """What the command line sets over the profile."""

    live: bool = False
    footage: Path | None = None
    episodes: int | None = None
    seed: int | None = None
    duration_s: float | None = None
    show: bool = False


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    profile: str
    mode: str
    tally: Tally
    names: tuple[str, ...]
    actions: int
    vetoes: dict[str, int]
    watchdog_trips: int
    observer_drops: int
    observer_failures: dict[str, int]
    episodes: list[Episode]
    ended: str
    signal: int = 0
    """The signal that ended the run, 0 when none did."""
    error: UserError | None = None
    """What broke the run off half-way; all that was counted until then is in the result."""


Watch = Callable[[Tally], AbstractContextManager[Any]]
"""Shows how a run goes on while it does; entered when the loop starts, left when it ends."""


def play(loaded: LoadedProfile, options: Options, watch: Watch = nullcontext) -> Result:
    """Run a profile to its end.

    :param watch: shows a lock-step run's progress; a live one is left alone, since drawing takes time from it.

    Whatever ends it (the footage, a limit, a signal, a panic, an exception), every button is up before
    this returns or raises, and all that was made is closed in the reverse order.

    :raises UserError: something that a plugin needs is missing, or an option does not fit the profile. What
        comes up once the loop runs is in the result instead.
    """
    profile = loaded.profile
    stop = StopFlag()
    actuation, reaches_desktop = chosen_actuation(loaded, options.live, options.footage is not None)
    lock_step = profile.mode == "lock-step" or options.footage is not None
    capture_choice = loaded.capture
    if options.footage is not None:
        maker = loaded.catalogue.with_duty("capture", "recording")
        kept = loaded.capture.settings.model_dump(exclude={"path"}) if maker == capture_choice.maker else {}
        capture_choice = choose(loaded.catalogue, maker, "--footage", **kept, path=options.footage.resolve())

    context = Context(
        folder=loaded.path.resolve().parent,
        seed=profile.seed if options.seed is None else options.seed,
        live=reaches_desktop,
        lock_step=lock_step,
        panic=stop.set,  # until there is an interlock there is nothing to disarm
        crosshair=profile.crosshair,
        episodes=options.episodes or profile.episodes,
    )
    guards = [c for c in loaded.guards if reaches_desktop or not c.maker.live_only]
    check_all([capture_choice, loaded.detector, loaded.selection, actuation, *guards, *loaded.observers], context)
    with ExitStack() as stack:
        caught = stack.enter_context(_signals(stop))
        capture = _make(stack, capture_choice, context)
        environment = capture if isinstance(capture, Environment) else None
        if options.episodes is not None and environment is None:
            raise UserError(
                f"--episodes counts the episodes of a game that the agent runs, and the capture "
                f'"{capture_choice.maker.name}" has none; use --duration'
            )
        context = replace(context, environment=environment)
        detector = _make(stack, loaded.detector, context)
        context = replace(context, names=tuple(detector.names))
        selection = _make(stack, loaded.selection, context)

        acting = _make(stack, actuation, context)
        interlock = Interlock(acting, stop)
        del acting
        stack.callback(interlock.disarm)
        context = replace(context, panic=interlock.panic)
        interlock.guarded_by([(choice.maker.name, _make(stack, choice, context)) for choice in guards])
        observers = _observers(stack, loaded, options, context, lock_step)
        parts = Parts(
            capture,
            detector,
            selection,
            AimController(profile.aim, actuation.maker.absolute),
            interlock,
            observers,
        )
        if not lock_step:
            stack.callback(Watchdog(interlock, profile.safety.watchdog_ms).close)
        tally = Tally()
        error = None
        try:
            with _no_collections(), watch(tally) if lock_step else nullcontext():
                run(parts, tally, stop, lock_step, options.duration_s or profile.duration_s)
        except UserError as raised:
            error = raised
            stop.set("an error")
        finally:
            interlock.disarm()
    acts = reaches_desktop or actuation.maker.reaches == "own-game"
    return Result(
        profile=loaded.name,
        mode="lock-step" if lock_step else "live" if acts else "dry-run",
        tally=tally,
        names=tuple(detector.names),
        actions=interlock.actions,
        vetoes=interlock.vetoes,
        watchdog_trips=interlock.trips,
        observer_drops=observers.dropped,
        observer_failures=observers.failed,
        episodes=list(environment.episodes) if environment is not None else [],
        ended=_ended(stop, environment, context),
        signal=caught[0] if caught else 0,
        error=error,
    )


def _ended(stop: StopFlag, environment: Environment | None, context: Context) -> str:
    if stop.reason == END_OF_FRAMES and environment is not None and context.episodes is not None:
        return f"{len(environment.episodes)} of {context.episodes} episodes played"
    return stop.reason


def check_all(choices: Iterable[Choice], context: Context) -> None:
    """Ask each plugin whether what its settings name is there.

    :raises UserError: something is not.
    """
    for choice in choices:
        if choice.maker.check is not None:
            choice.maker.check(choice.settings, context)


def _observers(
    stack: ExitStack, loaded: LoadedProfile, options: Options, context: Context, lock_step: bool
) -> ObserverQueue:
    choices = list(loaded.observers)
    if options.show and not any("window" in c.maker.duties for c in choices):
        choices.append(choose(loaded.catalogue, loaded.catalogue.with_duty("observer", "window"), "--show"))
    observers = ObserverQueue(
        [(choice.maker.name, _make(stack, choice, context)) for choice in choices],
        wants_pixels=any(choice.maker.wants_pixels for choice in choices),
        wait=lock_step,
    )
    stack.callback(observers.close)
    return observers


def _make(stack: ExitStack, choice: Choice, context: Context) -> Any:
    made = choice.maker.make(choice.settings, context)
    close = getattr(made, "close", None)
    if callable(close):
        stack.callback(close)
    return made


@contextmanager
def _signals(stop: StopFlag) -> Iterator[list[int]]:
    """End the run on SIGINT, SIGTERM and SIGHUP at the end of its frame; a second one ends it at once."""
    caught: list[int] = []

    def handle(number: int, _frame: types.FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(number)
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
