"""What commands leave behind: files, each of whose paths is printed, and where their figures come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.console import out
from core.files import write_atomically
from core.provenance import one_line
from core.text import to_json


def save(path: Path | None, content: str | bytes, what: str) -> None:
    """Write a file, where one is asked for, and print its path.

    :raises UserError: it cannot be written.
    """
    if path is not None:
        write_atomically(path, content)
        announce(what, path)


def save_json(path: Path | None, data: Mapping[str, Any], provenance: Mapping[str, Any] | None = None) -> None:
    """Write data as JSON with its provenance, where a file is asked for, and print its path.

    :raises UserError: it cannot be written.
    """
    block = {} if provenance is None else {"provenance": provenance}
    save(path, to_json({**block, **data}), "json")


def announce(what: str, path: Path) -> None:
    """Print the path of a file or folder that was written."""
    out.print(f"{what}: {path}", style="dim", markup=False, soft_wrap=True)


def print_provenance(block: Mapping[str, Any]) -> None:
    """Print in one line where the figures above come from."""
    out.print(one_line(block), style="dim", markup=False, soft_wrap=True)
