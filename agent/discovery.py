"""Finding plugins and what they offer: built-ins, entry points, files."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from agent.errors import UserError, said
from agent.hookspecs import ENTRY_POINT_GROUP, PROJECT, ROLES, SPECS, Duty, Maker, Role

BUILT_IN_PACKAGE = "plugins"
"""The package whose `BUILT_IN` tuple names the modules that are loaded like anyone else's plugin."""

HOOKS = tuple(f"reticle_{role}" for role in ROLES)

TRACE_VARIABLE = "RETICLE_TRACE_PLUGINS"


@dataclass(frozen=True)
class Offer:
    """A maker and where it came from (`built-in`, a distribution's name and version, or a file)."""

    maker: Maker
    source: str


@dataclass
class Catalogue:
    """All that is installed: for each role, offers by name."""

    offers: dict[Role, dict[str, Offer]] = field(default_factory=lambda: {role: {} for role in ROLES})

    def find(self, role: Role, name: str) -> Maker:
        """Return the maker of that role and name.

        :raises UserError: when there is none; the message says what there is.
        """
        offer = self.offers[role].get(name)
        if offer is None:
            raise UserError(self.unknown(role, name))
        return offer.maker

    def unknown(self, role: Role, name: str) -> str:
        """Say that there is no such plugin, with the nearest name and all of them."""
        names = sorted(self.offers[role])
        near = difflib.get_close_matches(name, names, n=1)
        hint = f'did you mean "{near[0]}"? ' if near else ""
        return f'unknown {role} plugin "{name}"; {hint}there are: {", ".join(names) or "none"}'

    def with_duty(self, role: Role, duty: Duty) -> Maker:
        """Return the first maker of that role that has the duty.

        :raises UserError: when no installed plugin has it.
        """
        for offer in self.offers[role].values():
            if duty in offer.maker.duties:
                return offer.maker
        raise UserError(f"no installed {role} plugin can do this (duty {duty!r})")


def discover(files: Iterable[Path] = ()) -> Catalogue:
    """Load the built-ins, the entry points of group `reticle.plugins` and the given files.

    `RETICLE_TRACE_PLUGINS=1` prints every hook call to standard error.

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
    for path in files:
        name = f"file:{path.resolve()}"
        if not manager.has_plugin(name):
            sources[name] = str(path)
            _register(manager, load_file(path), name, str(path))
    return _collect(manager, sources)


def _register(manager: pluggy.PluginManager, plugin: Any, name: str, source: str) -> None:
    try:
        manager.register(plugin, name)
        hooks = [caller.name for caller in manager.get_hookcallers(plugin) or ()]
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        said_so = " ".join(str(error).split())
        raise UserError(f"plugin {source}: {said_so}; the hooks are {', '.join(HOOKS)}") from error
    if not hooks:
        raise UserError(
            f"plugin {source}: it has no hook; mark one of {', '.join(HOOKS)} with @hookimpl (from agent.hookspecs)"
        )


def load_file(path: Path) -> ModuleType:
    """Import a plugin from a file.

    :raises UserError: the file is missing or raises on import; the message names the file and line.
    """
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        there = False
    if not there:
        raise UserError(f"{str(path)[:200]}: there is no such plugin file")
    name = "reticle_plugin_" + path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: a plugin file must be Python and end in .py")
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # so that a plugin of several files finds its others
    sys.modules[name] = module  # dataclasses and pydantic look their module up while it is executed
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise UserError(f"{path}:{error.lineno}: the plugin is not valid Python: {error.msg}") from error
    except Exception as error:
        del sys.modules[name]
        raise UserError(f"{path}: the plugin raised on import: {said(error)}") from error
    return module


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
                f"the installed plugin {entry.name!r} ({origin}) cannot be loaded: {said(error)}; mend or uninstall it"
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
                raise UserError(f"plugin {source}: its hook reticle_{role} raised: {said(error)}") from error
            for maker in _flatten(results):
                if not isinstance(maker, Maker):
                    raise UserError(f"plugin {source}: its hook reticle_{role} must return a Maker, not {maker!r}")
                taken = catalogue.offers[role].get(maker.name)
                if taken is not None:
                    raise UserError(
                        f'the {role} plugin "{maker.name}" is offered by both {taken.source} and {source}; '
                        "rename or remove one"
                    )
                catalogue.offers[role][maker.name] = Offer(maker, source)
    return catalogue


def _flatten(results: Sequence[Any]) -> list[Any]:
    makers: list[Any] = []
    for result in results:
        makers.extend(result if isinstance(result, list | tuple) else [result])
    return makers


def _trace(manager: pluggy.PluginManager) -> None:
    def before(hook_name: str, implementations: Sequence[Any], arguments: Any) -> None:
        names = ", ".join(i.plugin_name for i in implementations)
        print(f"{hook_name}: {dict(arguments)} -> {names}", file=sys.stderr)

    def after(outcome: Any, hook_name: str, implementations: Sequence[Any], arguments: Any) -> None:
        result = outcome.exception or [getattr(m, "name", m) for m in _flatten(outcome.get_result())]
        print(f"{hook_name} = {result}", file=sys.stderr)

    manager.add_hookcall_monitoring(before, after)
