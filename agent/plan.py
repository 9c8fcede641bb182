"""Which plugin fills each role of a run: the profile's choices, with what the caller asks for on top."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.factories import Output
from agent.profile import Choice, LoadedProfile, choose
from agent.roles import Roles
from core.errors import UserError

OLDEST_MS = 500.0
"""The oldest frame that a live run on the desktop may act on."""


@dataclass(frozen=True)
class Options:
    """What a caller sets over the profile; the command line's options are called the same."""

    live: bool = False
    footage: Path | None = None
    episodes: int | None = None
    seed: int | None = None
    duration_s: float | None = None
    show: bool = False
    overlay: Path | None = None
    record: Path | None = None
    trace: Path | None = None
    rerun: Path | None = None


@dataclass(frozen=True)
class Plan:
    """What is created for a run, and how it goes."""

    roles: Roles[Choice]
    reaches_desktop: bool
    absolute: bool
    """Whether the profile's actuation is; a dry run writes down what that one would do."""
    lock_step: bool

    @property
    def moves(self) -> bool:
        """Whether what is sent moves what the capture shows: not in a dry run."""
        return not self.roles.actuation.factory.dry_run

    @property
    def mode(self) -> str:
        """What reports call it: a run that moves something real, or its own game in real time, is live."""
        if self.lock_step:
            return "lock-step"
        return "live" if self.reaches_desktop or self.roles.actuation.factory.reaches == "own-game" else "dry-run"

    def described(self) -> dict[str, Any]:
        """Return the plugin and the settings of each role, as JSON has them."""

        def one(choice: Choice) -> dict[str, Any]:
            return {"plugin": choice.name, **choice.settings.model_dump(mode="json")}

        roles = self.roles
        single = ("capture", "detector", "selection", "controller", "actuation")
        return {
            **{role: one(getattr(roles, role)) for role in single},
            "guards": [one(choice) for choice in roles.guards],
            "observers": [one(choice) for choice in roles.observers],
        }


def make_plan(loaded: LoadedProfile, options: Options) -> Plan:
    """Return what a run of a profile is made of.

    :raises UserError: an option does not fit the profile.
    """
    actuation, reaches_desktop = _actuation(loaded, options)
    roles = replace(
        loaded.roles,
        capture=_capture(loaded, options),
        actuation=actuation,
        guards=_guards(loaded, options, reaches_desktop),
        observers=_observers(loaded, options),
    )
    return Plan(
        roles,
        reaches_desktop,
        absolute=loaded.roles.actuation.factory.absolute,
        lock_step=loaded.profile.mode == "lock-step" or options.footage is not None,
    )


def _capture(loaded: LoadedProfile, options: Options) -> Choice:
    capture = loaded.roles.capture
    if options.footage is None:
        return capture
    factory = loaded.catalogue.first("capture", lambda f: f.plays_recordings, "plays recordings")
    settings = capture.settings.model_dump(exclude={"path"}) if factory == capture.factory else {}
    return choose(factory, "--footage", **settings, path=options.footage.resolve())


def _observers(loaded: LoadedProfile, options: Options) -> tuple[Choice, ...]:
    observers = loaded.roles.observers

    def giving(output: Output) -> Any:
        return loaded.catalogue.first("observer", lambda f: f.output == output, f"gives a {output}")

    if options.show and not any(choice.factory.output == "window" for choice in observers):
        observers = (*observers, choose(giving("window"), "--show"))
    outputs: tuple[tuple[Output, str, Path | None], ...] = (
        ("overlay", "--overlay", options.overlay),
        ("recording", "--record", options.record),
        ("trace", "--trace", options.trace),
        ("rerun", "--rerun", options.rerun),
    )
    for output, option, path in outputs:
        if path is not None:
            observers = (*observers, choose(giving(output), option, path=path.resolve()))
    return observers


def _guards(loaded: LoadedProfile, options: Options, reaches_desktop: bool) -> tuple[Choice, ...]:
    """Return the guards of this run, on the desktop with one against old frames, whether the profile names it or not.

    :raises UserError: the profile's own allows frames older than `OLDEST_MS`.
    """
    guards = tuple(choice for choice in loaded.roles.guards if _applies(choice.factory, reaches_desktop, options))
    if not reaches_desktop:
        return guards
    against = [choice for choice in guards if choice.factory.max_age_ms is not None]
    if not against:
        factory = loaded.catalogue.first("guard", lambda f: f.max_age_ms is not None, "vetoes old frames")
        return (*guards, choose(factory, "--live", max_age_ms=OLDEST_MS))
    strictest = min(against, key=lambda choice: choice.factory.max_age_ms(choice.settings))
    age_ms = strictest.factory.max_age_ms(strictest.settings)
    if age_ms > OLDEST_MS:
        raise UserError(
            f"{strictest.where}: --live needs a guard that vetoes frames older than {OLDEST_MS:g} ms, and this "
            f"one allows {age_ms:g}; make its max_age_ms smaller, or leave the guard out to have {OLDEST_MS:g}"
        )
    return guards


def _applies(guard: Any, reaches_desktop: bool, options: Options) -> bool:
    """Tell whether a guard has a part in this run: none looks at a desktop that recorded frames are not of."""
    if options.footage is not None and guard.watches_desktop:
        return False
    return reaches_desktop or not guard.live_only


def _actuation(loaded: LoadedProfile, options: Options) -> tuple[Choice, bool]:
    """Return the actuation that this run may have, and whether it reaches the desktop.

    Unless the run is live, an actuation that reaches the desktop is replaced by one that only writes down.

    :raises UserError: live was asked for and cannot be honoured safely; the message says what is missing.
    """
    chosen = loaded.roles.actuation
    dry = chosen
    if not chosen.factory.dry_run:
        dry = choose(loaded.catalogue.first("actuation", lambda f: f.dry_run, "does a dry run"), "dry run")
    if options.footage is not None:
        if options.live:
            raise UserError("--live cannot be used with --footage: recorded frames must not move the mouse")
        return dry, False
    if chosen.factory.reaches != "desktop":
        if options.live:
            raise UserError(
                f'{loaded.path}: --live is for an actuation that moves the real mouse, and "{chosen.name}" does not; '
                "leave it out, or name another actuation"
            )
        return chosen, False
    if not options.live:
        return dry, False
    if loaded.profile.mode != "live":
        raise UserError(f"{loaded.path}: --live needs `mode: live`, and the profile says `mode: lock-step`")
    guards = [choice.factory for choice in loaded.roles.guards]
    if not (any(g.arm_key is not None for g in guards) and any(g.panics for g in guards)):
        both = [o.factory.name for o in _guards_offered(loaded) if o.factory.arm_key is not None and o.factory.panics]
        raise UserError(
            f"{loaded.path}: --live needs an arm key and a panic key; add a guard that has them, "
            f"such as: - plugin: {(both or ['one of your own'])[0]}"
        )
    return chosen, True


def _guards_offered(loaded: LoadedProfile) -> Any:
    """Return the guards that are installed."""
    return loaded.catalogue.offers["guard"].values()


def arm_key(loaded: LoadedProfile) -> str | None:
    """Return the name of the arm key that the profile's guards want held; None when none does."""
    for choice in loaded.roles.guards:
        if choice.factory.arm_key is not None:
            return str(choice.factory.arm_key(choice.settings))
    return None
