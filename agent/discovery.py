"""Finding plugins and what they offer: built-ins, entry points, files."""

from __future__ import annotations

import difflib
import importlib
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pluggy

from agent.factories import FACTORIES
from agent.hookspecs import ENTRY_POINT_GROUP, PROJECT, SPECS
from agent.roles import ROLES, Role
from core.errors import UserError, summary
from core.modules import load_file, publish_runtime_files

BUILT_IN_PACKAGE = "plugins"
"""The package whose `BUILT_IN` tuple names the modules that are loaded like anyone else's plugin."""

HOOKS = tuple(f"reticle_{role}" for role in ROLES)
RUNTIME_HOOK = "reticle_runtime"

TRACE_VARIABLE = "RETICLE_TRACE_PLUGINS"

log = logging.getLogger("reticle")


@dataclass(frozen=True)
class Offer:
    """A factory and where it came from (`built-in`, a distribution's name and version, or a file)."""

    factory: Any
    source: str


@dataclass
class Catalogue:
    """All that is installed: for each role, offers by name."""

    offers: dict[Role, dict[str, Offer]] = field(default_factory=lambda: {role: {} for role in ROLES})

    def find(self, role: Role, name: str) -> Any:
        """Return the factory of that role and name.

        :raises UserError: when there is none; the message says what there is.
        """
        offer = self.offers[role].get(name)
        if offer is None:
            raise UserError(self.unknown(role, name))
        return offer.factory

    def unknown(self, role: Role, name: str) -> str:
        """Say that there is no such plugin, with the nearest name and all of them."""
        names = sorted(self.offers[role])
        close = difflib.get_close_matches(name, names, n=1)
        hint = f'did you mean "{close[0]}"? ' if close else ""
        return f'unknown {role} plugin "{name}"; {hint}there are: {", ".join(names) or "none"}'

    def first(self, role: Role, wanted: Callable[[Any], bool], what: str) -> Any:
        """Return the first factory of that role that has a capability.

        :param what: the capability in a few words, for the message.
        :raises UserError: when no installed plugin has it.
        """
        for offer in self.offers[role].values():
            if wanted(offer.factory):
                return offer.factory
        raise UserError(f"no installed {role} plugin {what}")


def discover(files: Iterable[Path] = ()) -> Catalogue:
    """Load the built-ins, the entry points of group `reticle.plugins` and the given files.

    `RETICLE_TRACE_PLUGINS=1` logs every hook call.

    :raises UserError: a plugin cannot be imported, offers nothing, has a hook that does not exist or raises, or
        offers a name that is taken.
    """
    manager = pluggy.PluginManager(PROJECT)
    for spec in SPECS:
        manager.add_hookspecs(spec)
    if os.environ.get(TRACE_VARIABLE, "") not in ("", "0"):
        _trace(manager)
    sources: dict[str, str] = {}
    package = importlib.import_module(BUILT_IN_PACKAGE)
    for name in package.BUILT_IN:
        manager.register(importlib.import_module(name), name)
        sources[name] = "built-in"
    _load_entry_points(manager, sources)
    runtime_files = []
    for path in files:
        name = f"file:{path.resolve()}"
        if not manager.has_plugin(name):
            sources[name] = str(path)
            module = load_file(path)
            _register(manager, module, name, str(path))
            if hasattr(module, RUNTIME_HOOK):
                runtime_files.append(path)
    publish_runtime_files(runtime_files)  # processes that try engines or play episodes know them too
    return _collect(manager, sources)


def _register(manager: pluggy.PluginManager, plugin: Any, name: str, source: str) -> None:
    try:
        manager.register(plugin, name)
        hooks = [caller.name for caller in manager.get_hookcallers(plugin) or ()]
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"plugin {source}: {reason}; the hooks are {', '.join((*HOOKS, RUNTIME_HOOK))}") from error
    if not hooks:
        raise UserError(
            f"plugin {source}: it has no hook; mark one of {', '.join(HOOKS)} with @hookimpl (from reticle)"
        )


def _load_entry_points(manager: pluggy.PluginManager, sources: dict[str, str]) -> None:
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        name = f"entry point {entry.name}"
        origin = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        if manager.has_plugin(name):
            continue
        try:
            plugin = entry.load()
        except Exception as error:
            raise UserError(
                f"the installed plugin {entry.name!r} ({origin}) cannot be loaded: {summary(error)}; repair or "
                "uninstall it"
            ) from error
        sources[name] = origin
        _register(manager, plugin, name, origin)


def _collect(manager: pluggy.PluginManager, sources: dict[str, str]) -> Catalogue:
    catalogue = Catalogue()
    for role in ROLES:
        hook = getattr(manager.hook, f"reticle_{role}")
        for implementation in hook.get_hookimpls():
            source = sources[implementation.plugin_name]
            # One plugin at a time, so that an error names the plugin it came from.
            others = [p for p in manager.get_plugins() if p is not implementation.plugin]
            try:
                results = manager.subset_hook_caller(f"reticle_{role}", others)()
            except Exception as error:
                raise UserError(f"plugin {source}: its hook reticle_{role} raised: {summary(error)}") from error
            for factory in _flatten(results):
                if not isinstance(factory, FACTORIES[role]):
                    kind = FACTORIES[role].__name__
                    raise UserError(f"plugin {source}: its hook reticle_{role} must return a {kind}, not {factory!r}")
                taken = catalogue.offers[role].get(factory.name)
                if taken is not None:
                    raise UserError(
                        f'the {role} plugin "{factory.name}" is offered by both {taken.source} and {source}; '
                        "rename or remove one"
                    )
                catalogue.offers[role][factory.name] = Offer(factory, source)
    return catalogue


def _flatten(results: Sequence[Any]) -> list[Any]:
    flat: list[Any] = []
    for result in results:
        flat.extend(result if isinstance(result, list | tuple) else [result])
    return flat


def _trace(manager: pluggy.PluginManager) -> None:
    def before(hook_name: str, implementations: Sequence[Any], arguments: Any) -> None:
        names = ", ".join(i.plugin_name for i in implementations)
        log.info("%s: %s -> %s", hook_name, dict(arguments), names)

    def after(outcome: Any, hook_name: str, implementations: Sequence[Any], arguments: Any) -> None:
        result = outcome.exception or [getattr(m, "name", m) for m in _flatten(outcome.get_result())]
        log.info("%s = %s", hook_name, result)

    manager.add_hookcall_monitoring(before, after)
