"""The plugin contract: one class of hook specs a role, each hook returning the factories of that role.

A plugin is a module or an object with some of these hooks. Each hook is called once, at start, before the profile is
read; it returns a factory or a list of them, which the host lists (`agent.py plugins`) and whose settings it checks
before anything starts. The factory of each role that the profile names then creates the role's object once. A hook that
raises stops the start with one sentence that names the plugin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pluggy

from agent.factories import (
    ActuationFactory,
    CaptureFactory,
    ControllerFactory,
    DetectorFactory,
    GuardFactory,
    ObserverFactory,
    SelectionFactory,
)

PROJECT = "reticle"
ENTRY_POINT_GROUP = "reticle.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

_NEVER = "a spec is never called"


class CaptureSpecs:
    """Screen -> Frame."""

    @hookspec
    def reticle_capture(self) -> CaptureFactory | Sequence[CaptureFactory]:
        """Offer captures: objects with `grab() -> Frame | None`.

        :return: a factory or a list of them; what they create is closed at the end of the run. A capture that raises
            ends the run, buttons up.
        """
        raise AssertionError(_NEVER)


class DetectorSpecs:
    """Frame -> Detections."""

    @hookspec
    def reticle_detector(self) -> DetectorFactory | Sequence[DetectorFactory]:
        """Offer detectors: objects with `names` and `detect(frame) -> Detections`.

        :return: a factory or a list of them; a detector that raises ends the run, buttons up.
        """
        raise AssertionError(_NEVER)


class SelectionSpecs:
    """Detections -> Target."""

    @hookspec
    def reticle_selection(self) -> SelectionFactory | Sequence[SelectionFactory]:
        """Offer selections: objects with `select(detections, frame) -> Target | None`.

        :return: a factory or a list of them; a selection that raises ends the run, buttons up.
        """
        raise AssertionError(_NEVER)


class ControllerSpecs:
    """Target -> Action."""

    @hookspec
    def reticle_controller(self) -> ControllerFactory | Sequence[ControllerFactory]:
        """Offer controllers: objects with `decide(target, frame) -> Action` and `sent(action, frame)`.

        :return: a factory or a list of them; a controller that raises ends the run, buttons up.
        """
        raise AssertionError(_NEVER)


class ActuationSpecs:
    """Action -> mouse."""

    @hookspec
    def reticle_actuation(self) -> ActuationFactory | Sequence[ActuationFactory]:
        """Offer actuations: objects with `apply(action)` and `release()`, held by the interlock alone.

        :return: a factory or a list of them. Without `--live` the factory of one that reaches the desktop is never
            asked to create it; one that raises while acting ends the run after `release()`.
        """
        raise AssertionError(_NEVER)


class ObserverSpecs:
    """All of the above, after the fact."""

    @hookspec
    def reticle_observer(self) -> ObserverFactory | Sequence[ObserverFactory]:
        """Offer observers: objects with `observe(event)`, called on a thread of their own.

        :return: a factory or a list of them; an observer that is slow loses events, one that raises is counted and
            reported once; neither delays or stops the loop.
        """
        raise AssertionError(_NEVER)


class GuardSpecs:
    """The moment before an action."""

    @hookspec
    def reticle_guard(self) -> GuardFactory | Sequence[GuardFactory]:
        """Offer guards: objects with `check(action, presses, frame, now_ns) -> str | None`.

        :return: a factory or a list of them; a guard that raises has vetoed.
        """
        raise AssertionError(_NEVER)


class RuntimeSpecs:
    """Networks, made ready: no role of the loop, and the host calls it in no case."""

    @hookspec
    def reticle_runtime(self) -> Any:
        """Offer runtimes: `engine.runtime.Runtime` objects, which the detector's `engine` setting can name.

        :return: a runtime or a list of them. It is called when engines are listed or chosen, in every process that
            does so; one that raises ends the command with one sentence.
        """
        raise AssertionError(_NEVER)


SPECS = (
    CaptureSpecs,
    DetectorSpecs,
    SelectionSpecs,
    ControllerSpecs,
    ActuationSpecs,
    ObserverSpecs,
    GuardSpecs,
    RuntimeSpecs,
)
