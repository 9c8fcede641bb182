"""The public API of Reticle: what plugins are written with, and what notebooks call.

Everything here keeps its name and meaning within a minor version; CHANGELOG.md says what changed. What is not here is
the project's own and may change at any time. docs/api.md describes each name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.calibration import Calibration
from agent.classes import class_index
from agent.context import Context
from agent.factories import (
    ActuationFactory,
    CaptureFactory,
    ControllerFactory,
    DetectorFactory,
    GuardFactory,
    NoSettings,
    ObserverFactory,
    PictureOracle,
    PluginSettings,
    Published,
    Sample,
    SelectionFactory,
    Suite,
)
from agent.history import CommandHistory, View
from agent.hookspecs import hookimpl
from agent.roles import (
    Actuation,
    Capture,
    Controller,
    Described,
    Environment,
    Guard,
    Observer,
    OnDemandCapture,
    Selection,
    Stateful,
)
from agent.roles import (
    Detector as DetectorRole,
)
from agent.types import (
    IDLE,
    LEFT,
    MIDDLE,
    RIGHT,
    Action,
    Detections,
    Episode,
    Frame,
    FrameEvent,
    Measure,
    Outcome,
    Target,
)
from core.errors import UserError
from core.version import __version__

if TYPE_CHECKING:
    from agent.loop import ActiveRoles
    from agent.middleware import Middleware
    from engine.engine import Engine, GraphStages, Model
    from engine.runtime import Runtime
    from reticle.api import Detector, ImageDetections, arena, compare, evaluate, play

_LAZY = {
    "Detector": "reticle.api",
    "ImageDetections": "reticle.api",
    "arena": "reticle.api",
    "compare": "reticle.api",
    "evaluate": "reticle.api",
    "play": "reticle.api",
    "ActiveRoles": "agent.loop",
    "Middleware": "agent.middleware",
    "Engine": "engine.engine",
    "GraphStages": "engine.engine",
    "Model": "engine.engine",
    "Runtime": "engine.runtime",
}
"""Imported when they are asked for: a plugin that uses none of them loads without them."""

__all__ = [
    "IDLE",
    "LEFT",
    "MIDDLE",
    "RIGHT",
    "Action",
    "ActiveRoles",
    "Actuation",
    "ActuationFactory",
    "Calibration",
    "Capture",
    "CaptureFactory",
    "CommandHistory",
    "Context",
    "Controller",
    "ControllerFactory",
    "Described",
    "Detections",
    "Detector",
    "DetectorFactory",
    "DetectorRole",
    "Engine",
    "Environment",
    "Episode",
    "Frame",
    "FrameEvent",
    "GraphStages",
    "Guard",
    "GuardFactory",
    "ImageDetections",
    "Measure",
    "Middleware",
    "Model",
    "NoSettings",
    "Observer",
    "ObserverFactory",
    "OnDemandCapture",
    "Outcome",
    "PictureOracle",
    "PluginSettings",
    "Published",
    "Runtime",
    "Sample",
    "Selection",
    "SelectionFactory",
    "Stateful",
    "Suite",
    "Target",
    "UserError",
    "View",
    "__version__",
    "arena",
    "class_index",
    "compare",
    "evaluate",
    "hookimpl",
    "play",
]


def __getattr__(name: str) -> Any:
    """Import a name of _LAZY."""
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'reticle' has no attribute {name!r}")
