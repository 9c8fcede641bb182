"""What a runtime says of itself, and the registry of those that are known.

A runtime is one object: its name, devices, packages, precisions, and how it makes a network ready. The built-in ones
are modules of engine/runtimes/; others come from installed packages (entry points of the group `reticle.runtimes`) or
from plugin files with a hook `reticle_runtime`. The paths of such files stand in the environment, so that every process
that is spawned, to try an engine or to play an episode, knows the same runtimes.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from core.errors import UserError, summary
from core.modules import RUNTIME_FILES_VARIABLE, load_file
from core.precision import PRECISIONS, Precision

if TYPE_CHECKING:
    from engine.engine import Engine, GraphStages, Model

BUILT_IN = (
    "engine.runtimes.openvino",
    "engine.runtimes.onnx",
    "engine.runtimes.tensorflow",
    "engine.runtimes.tensorrt",
    "engine.runtimes.tensorrt_rtx",
    "engine.runtimes.tensorrt_lean",
)
"""Modules with a `RUNTIME`, in the order in which they are listed."""
ENTRY_POINT_GROUP = "reticle.runtimes"

Place = Literal["graph", "host"]
"""Where a stage runs: in the runtime's own graph, or by OpenCV and numpy in this process."""


@dataclass(frozen=True)
class Runtime:
    """One library that runs networks.

    :param name: what a profile calls it as `engine`, with a colon and a device where it has several.
    :param load: makes a network ready: called with the model, the precision, what stands in the graph beside the
        network, and the device (the runtime's name where none was given); returns an `Engine` or raises `UserError`.
    :param packages: import names, of which one must be installed.
    :param install: the remedy where none is, as a clause.
    :param precisions: what it can compute at.
    :param devices: what may stand after the colon.
    :param present: names that can be tried on this machine, devices included; called only where it is installed.
    :param distributions: whose versions belong into the key that `engine: auto` remembers its choice under.
    :param preprocess: where pixels are prepared: what measured faster.
    :param postprocess: where heads are decoded, likewise.
    :param reads_onnx: whether it takes an ONNX graph, which pre- and post-processing can be written into.
    :param darknet_only: whether it takes no other family's networks.
    :param one_size: whether what conversion makes for it is of one input size.
    :param needs: the file that conversion must have added to a bundle before this precision can run, None for none.
    """

    name: str
    load: Callable[[Model, Precision, GraphStages, str], Engine]
    packages: tuple[str, ...]
    install: str
    precisions: tuple[Precision, ...] = PRECISIONS
    devices: tuple[str, ...] = ()
    present: Callable[[], Iterable[str]] | None = None
    distributions: tuple[str, ...] = ()
    preprocess: Place = "host"
    postprocess: Place = "host"
    reads_onnx: bool = True
    darknet_only: bool = False
    one_size: bool = False
    needs: Callable[[Precision], str | None] = field(default=lambda precision: None)

    @property
    def installed(self) -> bool:
        """Whether one of its packages is there, found without importing it."""
        return any(importlib.util.find_spec(package) is not None for package in self.packages)

    def engines(self) -> list[str]:
        """Return the engine names that can be tried here: none where it is not installed."""
        if not self.installed:
            return []
        return [self.name] if self.present is None else list(self.present())

    def versions(self) -> dict[str, str]:
        """Return the versions of its distributions that are installed."""
        found = {}
        for name in self.distributions:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found


@dataclass(frozen=True)
class Registered:
    """A runtime and where it came from: `built-in`, a distribution's name and version, or a file."""

    runtime: Runtime
    source: str


def registered() -> dict[str, Registered]:
    """Return the known runtimes by name, the built-in ones first.

    :raises UserError: a package or file that offers one cannot be loaded, or two offer the same name.
    """
    return _registered(os.environ.get(RUNTIME_FILES_VARIABLE, ""))


def find_runtime(engine: str) -> Runtime:
    """Return the runtime of an engine's name, a device behind a colon aside.

    :raises UserError: there is none, or it has no such device.
    """
    base, _, device = engine.partition(":")
    known = registered()
    if base not in known:
        raise UserError(f'there is no engine "{engine}"; choose one of: {", ".join(known)}, auto')
    runtime = known[base].runtime
    if device and device not in runtime.devices:
        listed = ", ".join(f"{base}:{name}" for name in runtime.devices) or base
        raise UserError(f'there is no engine "{engine}"; choose one of: {listed}')
    return runtime


@functools.cache
def _registered(files: str) -> dict[str, Registered]:
    found: dict[str, Registered] = {}
    for name in BUILT_IN:
        _add(found, importlib.import_module(name).RUNTIME, "built-in")
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        source = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        try:
            offered = entry.load()
        except Exception as error:
            raise UserError(
                f"the installed runtime {entry.name!r} ({source}) cannot be loaded: {summary(error)}; repair or "
                "uninstall it"
            ) from error
        for runtime in _offered(offered, source):
            _add(found, runtime, source)
    for path in filter(None, files.split(os.pathsep)):
        hook = getattr(load_file(Path(path)), "reticle_runtime", None)
        for runtime in [] if hook is None else _offered(hook, path):
            _add(found, runtime, path)
    return found


def _offered(offered: Any, source: str) -> list[Any]:
    """Return the runtimes that a module's hook or an entry point gives: one, several, or a function of either."""
    try:
        given = offered() if callable(offered) and not isinstance(offered, Runtime) else offered
    except Exception as error:
        raise UserError(f"plugin {source}: its hook reticle_runtime raised: {summary(error)}") from error
    return list(given) if isinstance(given, list | tuple) else [given]


def _add(found: dict[str, Registered], runtime: Any, source: str) -> None:
    if not isinstance(runtime, Runtime):
        raise UserError(f"plugin {source}: reticle_runtime must return a Runtime, not {runtime!r}")
    taken = found.get(runtime.name)
    if taken is not None and taken.runtime is not runtime:
        raise UserError(
            f'the runtime "{runtime.name}" is offered by both {taken.source} and {source}; rename or remove one'
        )
    found[runtime.name] = Registered(runtime, source)
