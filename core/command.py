"""How whoever reads a message started this program, and can start the remedy it names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from core.errors import UserError, summary

_SCRIPT = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else ""

COMMAND = (
    "reticle" if _SCRIPT.startswith("reticle") else "uv run agent.py" if os.environ.get("UV") else "python agent.py"
)


def missing(who: str, package: str, extra: str, error: ImportError) -> UserError:
    """Return the error that a package is not installed, or that its libraries cannot be loaded.

    :param who: what needs it.
    :param extra: of this project, which brings it.
    """
    if not isinstance(error, ModuleNotFoundError):
        return UserError(f"{who} needs the package {package}, which cannot be loaded here: {summary(error)}")
    start = COMMAND.replace("uv run", f"uv run --extra {extra}")
    return UserError(
        f"{who} needs the package {package}, which is not installed: start with `{start} ...` (without uv: "
        f"`pip install {package}`)"
    )
