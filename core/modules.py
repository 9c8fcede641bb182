"""Importing a Python file that a user named."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from core.errors import UserError, summary

RUNTIME_FILES_VARIABLE = "RETICLE_RUNTIME_FILES"
"""Holds the plugin files that offer runtimes, separated as in PATH, for this process and those it starts."""


def publish_runtime_files(files: Sequence[Path]) -> None:
    """Make the runtimes of plugin files known here and in every process that is started from now on."""
    before = [part for part in os.environ.get(RUNTIME_FILES_VARIABLE, "").split(os.pathsep) if part]
    together = dict.fromkeys([*before, *(str(path.resolve()) for path in files)])
    if len(together) > len(before):
        os.environ[RUNTIME_FILES_VARIABLE] = os.pathsep.join(together)


def load_file(path: Path) -> ModuleType:
    """Import a plugin from a file; the same file is imported once.

    :raises UserError: the file is missing or raises on import; the message names the file and line.
    """
    try:
        path = path.resolve()
        there = path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        there = False
    if not there:
        raise UserError(f"{str(path)[:200]!r}: there is no such plugin file".replace("'", ""))
    name = "reticle_plugin_" + path.stem
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
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
        raise UserError(f"{path}: the plugin raised on import: {summary(error)}") from error
    return module
