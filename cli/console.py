"""How commands print: the two consoles, the log, progress with and without a terminal."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from core.progress import Progress

if TYPE_CHECKING:
    from rich.console import Console


class LazyConsole:
    """A console of rich's that is imported when something is first printed: every start would pay for it."""

    def __init__(self, stderr: bool = False) -> None:
        self._stderr = stderr

    @functools.cached_property
    def console(self) -> Console:
        """The console itself."""
        from rich.console import Console

        # Where nobody watches, rich takes Windows' for a console of twenty years ago and draws other tables.
        console = Console(stderr=self._stderr, highlight=False)
        return console if console.is_terminal else Console(stderr=self._stderr, highlight=False, legacy_windows=False)

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich's console does."""
        self.console.print(*objects, **options)

    @property
    def is_terminal(self) -> bool:
        """Whether somebody watches."""
        return self.console.is_terminal

    @property
    def width(self) -> int:
        """Characters a line."""
        return self.console.width


out = LazyConsole()
err = LazyConsole(stderr=True)

LINE_EVERY_S = 10.0
"""Without a terminal, long work prints a line this often."""


class ConsoleHandler(logging.Handler):
    """Prints the log's messages as they are, warnings in yellow and errors in red."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        level = record.levelno
        style = "red" if level >= logging.ERROR else "yellow" if level >= logging.WARNING else None
        err.print(record.getMessage(), style=style, markup=False, soft_wrap=True)


def log_to_console() -> None:
    """Print what the rooms log."""
    log = logging.getLogger("reticle")
    if not log.handlers:
        log.addHandler(ConsoleHandler())
        log.setLevel(logging.INFO)
        log.propagate = False


@contextlib.contextmanager
def progress() -> Iterator[Progress]:
    """Show how far long work is: a bar in a terminal, else a plain line every ten seconds."""
    if not err.is_terminal:
        yield _Lines().update
        return
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=err.console, transient=True) as bars:
        task = bars.add_task("", total=None)
        last = ""

        def update(what: str, done: int, total: int) -> None:
            nonlocal last
            if what != last:
                bars.reset(task, description=what, total=total or None)
                last = what
            bars.update(task, completed=done, total=total or None)

        yield update


class _Lines:
    """Progress for files and pipes."""

    def __init__(self) -> None:
        self._printed_s = time.monotonic()

    def update(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._printed_s >= LINE_EVERY_S:
            self._printed_s = now
            count = f": {done} of {total}" if total else f": {done}" if done else ""
            err.print(f"{what}{count}", markup=False, soft_wrap=True)
