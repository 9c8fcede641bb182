"""How long work reports its progress, whoever shows it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is (0: not known)."""


def silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


def counter(progress: Progress, what: str, total: int) -> Callable[[], None]:
    """Return a function that reports one more of `total` done each time it is called."""
    done = 0
    progress(what, 0, total)

    def count() -> None:
        nonlocal done
        done += 1
        progress(what, done, total)

    return count
