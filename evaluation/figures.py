"""Figures as PNG, and tables as Markdown."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from typing import Any

from core.command import COMMAND
from core.errors import UserError


def figure(width: float, height: float) -> Any:
    """Return an empty figure of matplotlib's, inches.

    :raises UserError: matplotlib is not installed.
    """
    check()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def check() -> None:
    """See that figures can be drawn, before the work that is to be drawn.

    :raises UserError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        extra = COMMAND.replace("uv run", "uv run --extra plots")
        raise UserError(
            f"drawing needs the package matplotlib, which is not installed: start with `{extra} ...` (without uv: "
            "`pip install matplotlib`), or leave the picture out"
        )


def png(drawn: Any, dpi: int = 110) -> bytes:
    """Return a figure as PNG."""
    stream = io.BytesIO()
    drawn.savefig(stream, format="png", dpi=dpi)
    return stream.getvalue()


def markdown(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of texts as Markdown."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows]) + "\n"
