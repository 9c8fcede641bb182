"""The process's share of the machine: its processors and its priority, as the profile asks, and back afterwards."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from agent.profile import LoopSettings
from core.errors import UserError


@contextlib.contextmanager
def share(settings: LoopSettings, profile: Path) -> Iterator[None]:
    """Set processors and priority; threads that are started later have them too.

    :raises UserError: there are no such processors, or the priority is not for this user to take.
    """
    process = psutil.Process()
    with contextlib.ExitStack() as stack:
        if settings.cpus:
            if not hasattr(process, "cpu_affinity"):
                raise UserError(f"{profile}: loop.cpus: this system does not let a process choose its processors")
            before = process.cpu_affinity()
            try:
                process.cpu_affinity(list(settings.cpus))
            except (ValueError, OSError, psutil.Error) as error:
                raise UserError(
                    f"{profile}: loop.cpus is {list(settings.cpus)}; here there are 0 to {(os.cpu_count() or 1) - 1}"
                ) from error
            stack.callback(process.cpu_affinity, before)
        if settings.nice is not None and hasattr(os, "setpriority"):
            priority = os.getpriority(os.PRIO_PROCESS, 0)
            try:
                os.setpriority(os.PRIO_PROCESS, 0, settings.nice)
            except PermissionError as error:
                raise UserError(
                    f"{profile}: loop.nice is {settings.nice}, and this user may not go below {priority}; leave it out"
                ) from error
            stack.callback(_back, priority)
        elif settings.nice is not None and sys.platform == "win32":
            before_class = process.nice()
            process.nice(_class_of(settings.nice))
            stack.callback(process.nice, before_class)
        yield


def _class_of(nice: int) -> int:
    """Return Windows' priority class for a niceness; none is so high that the mouse would no longer move."""
    named = (
        ("HIGH", nice <= -10),
        ("ABOVE_NORMAL", nice < 0),
        ("NORMAL", nice == 0),
        ("BELOW_NORMAL", nice < 10),
        ("IDLE", True),
    )
    return int(getattr(psutil, f"{next(name for name, fits in named if fits)}_PRIORITY_CLASS"))


def _back(priority: int) -> None:
    with contextlib.suppress(PermissionError):  # a lowered priority cannot always be raised again
        os.setpriority(os.PRIO_PROCESS, 0, priority)
