"""What the commands share: the two consoles, options, progress, and the check that an output can be written."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from agent.errors import UserError
from agent.hookspecs import Context
from agent.session import Result

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

MOST_PIXELS = 4096
"""The longest side of a network's input."""

PluginOption = Annotated[
    list[Path] | None, typer.Option("--plugin", help="Load a plugin from this file too; may be given again.")
]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the same as JSON to this file.")]


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show how far long work is; give what is told: what is being done, how much of it, of how much (0: unknown)."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        last = ""

        def update(what: str, done: int, total: int) -> None:
            nonlocal last
            if what != last:
                bar.reset(task, description=what, total=total or None)
                last = what
            bar.update(task, completed=done, total=total or None)

        yield update


def plain_context(folder: Path) -> Context:
    """Return the context of a maker outside a run."""
    nothing: Callable[[str], None] = lambda reason: None  # noqa: E731
    return Context(folder=folder, seed=0, live=False, lock_step=True, panic=nothing)


def check_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written before the work that would be lost.

    :raises UserError: it is a folder, or its folder cannot be made or written.
    """
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UserError(f"{path}: nothing can be written there: {error.strerror}; name another file") from error
    if path.is_dir():
        raise UserError(f"{path}: this is a folder; name a file")


def sides(option: str, text: str) -> tuple[int, int]:
    """Return the width and height that a network's input is given, pixels: of 416 or 512x384.

    :raises UserError: it is neither, or a side is no multiple of 32 or out of bounds; the message names the option.
    """
    try:
        width, height = (int(part) for part in (text.split("x") if "x" in text else (text, text)))
    except ValueError:
        raise UserError(f'{option} is "{text}"; give a side such as 416, or WIDTHxHEIGHT such as 512x384') from None
    if any(side % 32 or not 32 <= side <= MOST_PIXELS for side in (width, height)):
        raise UserError(f"{option} is {text}; a side is a multiple of 32 pixels, {MOST_PIXELS} at the most")
    return width, height


def input_size(text: str | None) -> tuple[int, int] | None:
    """Return what `--size` says, None where it is not given.

    :raises UserError: as `sides` does.
    """
    return None if text is None else sides("--size", text)


def counter(tell: Callable[[str, int, int], None], what: str, total: int) -> Callable[[], None]:
    """Return what counts one more of `total` done."""
    done = 0
    tell(what, 0, total)

    def count() -> None:
        nonlocal done
        done += 1
        tell(what, done, total)

    return count


def leave(result: Result) -> None:
    """End a run's command as the run did, once all of it is said: by its error, or with its signal's status."""
    if result.error is not None:
        raise result.error
    if result.signal:
        raise SystemExit(128 + result.signal)
