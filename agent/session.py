"""One run, from a checked profile to its result: creates what fills the roles, runs the loop, takes everything down."""

from __future__ import annotations

import gc
import logging
import signal
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.border import Border, check_names
from agent.context import Context
from agent.ego_motion import MotionEstimator
from agent.factories import DetectorFactory
from agent.history import CommandHistory, View
from agent.interlock import Interlock, StopFlag, Watchdog
from agent.loop import END_OF_FRAMES, ActiveRoles, run
from agent.middleware import Middleware, applied
from agent.observers import ObserverQueue
from agent.plan import Options, Plan, make_plan
from agent.priority import share
from agent.profile import Choice, LoadedProfile
from agent.roles import Detector, Environment, FallsBack, described
from agent.statistics import RunStatistics
from agent.types import Episode, Measure
from core.closing import told_of_closing
from core.errors import UserError, summary

log = logging.getLogger("reticle")


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    profile: str
    mode: str
    statistics: RunStatistics
    names: tuple[str, ...]
    actions: int
    vetoes: dict[str, int]
    veto_reasons: dict[tuple[str, str], int]
    watchdog_trips: int
    observer_drops: int
    observer_failures: dict[str, int]
    episodes: list[Episode]
    measures: tuple[Measure, ...]
    """What the environment keeps of an episode; empty without one."""
    ended: str
    signal: int = 0
    """The signal that ended the run, 0 when none did."""
    setup: dict[str, Any] = field(default_factory=dict)
    """The plugin and the settings of each role, and the seed."""
    path: Path | None = None
    """The profile's file."""
    detector: dict[str, Any] = field(default_factory=dict)
    """What the detector says that it ran: `model`, `engine` and `precision` as resolved."""
    fallback: dict[str, Any] | None = None
    """What it says of the network that it may change to; None where there is none."""
    adapted: dict[str, Any] = field(default_factory=dict)
    """What was learnt of scale and delay during the run (`calibration.adapt`)."""
    failures: list[str] = field(default_factory=list)
    """What an observer or the end of a plugin failed at: what it was to write is not there."""
    error: Exception | None = None
    """What broke the run off half-way; all that was counted until then is in the result."""

    def to_dict(self) -> dict[str, Any]:
        """Return the run's report, as docs/reports.md describes it."""
        from agent.report import as_json

        return as_json(self)


Watch = Callable[[RunStatistics], AbstractContextManager[Any]]
"""Shows how a run goes on while it does; entered when the loop starts, left when it ends."""


def play(
    loaded: LoadedProfile,
    options: Options,
    watch: Watch = nullcontext,
    middleware: Sequence[Middleware] = (),
) -> Result:
    """Run a profile to its end.

    :param watch: shows a lock-step run's progress; a live one is left alone, since drawing takes time from it.
    :param middleware: what to put between the roles; see `agent.middleware`.

    Whatever ends it (the footage, a limit, a signal, a panic, an exception), every button is up before this returns or
    raises, and all that was created is closed in the reverse order.

    :raises UserError: something that a plugin needs is missing, or an option does not fit the profile. What comes up
        once the loop runs, in whatever way, is in the result instead.
    """
    stop = StopFlag()
    plan = make_plan(loaded, options)
    profile = loaded.profile
    context = _context(loaded, options, plan, stop)
    choices = [choice for _, choice in plan.roles.items()]
    check_all(choices, context)
    for choice in choices:
        prepare(choice, context)
    statistics = RunStatistics()
    failures: list[str] = []
    error = None
    with ExitStack() as stack:
        caught = stack.enter_context(_signals(stop))
        stack.enter_context(share(profile.loop, loaded.path))
        roles, context = _create_roles(stack, plan, context, stop, failures)
        own = roles.detector
        detector = described(own)
        roles = applied(middleware, roles, context)
        asked = options.episodes or (profile.episodes if options.footage is None else None)
        if asked and context.environment is None:
            raise UserError(
                f"{loaded.path}: episodes (--episodes) are those of a game that the agent runs, and the capture "
                f'"{plan.roles.capture.name}" has none; use duration_s (--duration)'
            )
        if not plan.lock_step:
            stack.callback(Watchdog(roles.interlock, profile.safety.watchdog_ms).close)
        try:
            with _no_collections(), watch(statistics) if plan.lock_step else nullcontext():
                duration_s = options.duration_s or profile.duration_s
                patience_s = profile.safety.watchdog_ms / 1e3
                pace = profile.loop
                run(roles, statistics, stop, plan.lock_step, duration_s, patience_s, pace.max_fps, pace.max_share)
        except Exception as raised:
            error = raised
            stop.set("an error")
        finally:
            caught.ending = True
            roles.interlock.disarm()
        fallback = _fallback(plan.roles.detector, own, failures)
    environment = context.environment
    return Result(
        profile=loaded.name,
        mode=plan.mode,
        statistics=statistics,
        names=context.names,
        actions=roles.interlock.actions,
        vetoes=roles.interlock.vetoes,
        veto_reasons=roles.interlock.reasons,
        watchdog_trips=roles.interlock.trips,
        observer_drops=roles.observers.dropped,
        observer_failures=roles.observers.failed,
        episodes=list(environment.episodes) if environment is not None else [],
        measures=environment.measures if environment is not None else (),
        ended=_ended(stop, context),
        signal=caught.numbers[0] if caught.numbers else 0,
        setup={"seed": context.seed, **plan.described()},
        path=loaded.path,
        detector=detector,
        fallback=fallback,
        adapted={} if roles.estimator is None else roles.estimator.to_dict(),
        failures=[*(f"observer {name}: {why}" for name, why in roles.observers.reasons.items()), *failures],
        error=error,
    )


def _fallback(choice: Choice, detector: Detector, failures: list[str]) -> dict[str, Any] | None:
    """Return what a detector says of its fallback; what it raises must not cost the run its report."""
    if not isinstance(detector, FallsBack):
        return None
    try:
        return dict(detector.fallback())
    except Exception as error:
        _failed(choice, "in fallback", error, failures)
        return None


def _context(loaded: LoadedProfile, options: Options, plan: Plan, stop: StopFlag) -> Context:
    """Return what is known before anything is created."""
    profile = loaded.profile
    calibration = profile.calibration
    history = CommandHistory(calibration.delay_ns)
    return Context(
        folder=loaded.path.resolve().parent,
        seed=profile.seed if options.seed is None else options.seed,
        live=plan.reaches_desktop,
        lock_step=plan.lock_step,
        panic=stop.set,  # until there is an interlock there is nothing to disarm
        crosshair=profile.crosshair,
        profile=loaded.path.resolve(),
        episodes=options.episodes or profile.episodes,
        moves=plan.moves,
        absolute=plan.absolute,
        watchdog_ms=profile.safety.watchdog_ms,
        calibration=calibration,
        history=history,
        view=View(history, calibration.focal_px if calibration.calibrated and not plan.absolute else None),
    )


def _create_roles(
    stack: ExitStack, plan: Plan, context: Context, stop: StopFlag, failures: list[str]
) -> tuple[ActiveRoles, Context]:
    """Create what fills each role, in the order in which one may need another; return the last context too.

    :param failures: takes what closing them fails at.
    """
    roles = plan.roles
    capture = _create(stack, roles.capture, context, failures)
    context = replace(context, environment=capture if isinstance(capture, Environment) else None)
    detector = _create(stack, roles.detector, context, failures)
    context = replace(context, names=check_names(_label(roles.detector), detector.names))
    selection = _create(stack, roles.selection, context, failures)
    controller = _create(stack, roles.controller, context, failures)
    limit_ms = context.watchdog_ms if context.live else None
    interlock = Interlock(_create(stack, roles.actuation, context, failures), stop, limit_ms=limit_ms)
    stack.callback(interlock.disarm)
    context = replace(context, panic=interlock.panic)
    interlock.guarded_by([(choice.name, _create(stack, choice, context, failures)) for choice in roles.guards])
    observers = ObserverQueue(
        [(choice.name, _create(stack, choice, context, failures)) for choice in roles.observers],
        wants_pixels=any(choice.factory.wants_pixels for choice in roles.observers),
        wait=plan.lock_step,
    )
    stack.callback(observers.close)
    calibration = context.calibration
    estimator = None
    if calibration.adapt and calibration.calibrated and not context.absolute:
        estimator = MotionEstimator(calibration, context.history)
    labels = {role: _label(choice) for role, choice in roles.items() if role not in ("guard", "observer")}
    return (
        ActiveRoles(
            capture,
            detector,
            selection,
            controller,
            interlock,
            observers,
            context.history,
            Border({str(role): label for role, label in labels.items()}, context.names),
            context.calibration.per_count,
            context.moves,
            estimator,
        ),
        context,
    )


def _ended(stop: StopFlag, context: Context) -> str:
    if stop.reason == END_OF_FRAMES and context.environment is not None and context.episodes is not None:
        return f"{len(context.environment.episodes)} of {context.episodes} episodes played"
    return stop.reason


def check_all(choices: Iterable[Choice], context: Context) -> None:
    """Ask each plugin whether what its settings name is there.

    :raises UserError: something is not; all that is missing, a line each.
    """
    choices = list(choices)
    problems = []
    for choice in choices:
        if isinstance(choice.factory, DetectorFactory) and choice.factory.named_classes is not None:
            with suppress(UserError):  # its own check says it
                context = replace(context, names=choice.factory.named_classes(choice.settings, context))
    for choice in choices:
        if choice.factory.check is not None:
            try:
                with _named(choice):
                    choice.factory.check(choice.settings, context)
            except UserError as error:
                problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))


def prepare(choice: Choice, context: Context) -> None:
    """Let a plugin do what may take long before it is created.

    :raises UserError: it cannot be done.
    """
    if choice.factory.prepare is not None:
        with _named(choice):
            choice.factory.prepare(choice.settings, context)


def create(choice: Choice, context: Context) -> Any:
    """Create a role's object outside a run.

    :raises UserError: it cannot be created, or is not what its role needs.
    """
    with _named(choice):
        created = choice.factory.create(choice.settings, context)
        missing = [name for name in choice.factory.methods if not hasattr(created, name)]
        if missing:
            raise UserError(
                f'the plugin "{choice.name}" created a {type(created).__name__} without {" and ".join(missing)}; '
                f"the role {choice.factory.role} needs {', '.join(choice.factory.methods)}"
            )
    return created


def _create(stack: ExitStack, choice: Choice, context: Context, failures: list[str]) -> Any:
    created = create(choice, context)
    close = getattr(created, "close", None)
    if callable(close):
        stack.callback(_close, choice, close, failures)
    return created


def _label(choice: Choice) -> str:
    """Return what messages call a role's plugin."""
    return f'{choice.where}: the {choice.factory.role} "{choice.name}"'


@contextmanager
def _named(choice: Choice) -> Iterator[None]:
    """Say in an error which plugin it is about, and the line of the profile that names it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{choice.where}: {error}") from error
    except Exception as error:
        raise UserError(f'{choice.where}: the plugin "{choice.name}" cannot be created: {summary(error)}') from error


def _close(choice: Choice, close: Callable[[], None], failures: list[str]) -> None:
    """Close one plugin; what it raises must cost neither the others their turn nor the run its report."""
    try:
        close()
    except Exception as error:
        _failed(choice, "to close", error, failures)


def _failed(choice: Choice, what: str, error: Exception, failures: list[str]) -> None:
    """Say what a plugin failed at once the run was over, and keep it for the result."""
    why = str(error) if isinstance(error, UserError) else summary(error)
    failures.append(f'{choice.where}: the plugin "{choice.name}" failed {what}: {why}')
    log.error("%s", failures[-1])


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
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # Windows has no SIGHUP, and others no SIGBREAK
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        with told_of_closing(stop.set):
            yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the garbage collector from walking everything that was created before the loop."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
