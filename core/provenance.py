"""Where a figure comes from: the same block in every JSON file, and as one line beside every table."""

from __future__ import annotations

import contextlib
import datetime
import functools
import hashlib
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.files import sha256
from core.machine import gpus, processor
from core.version import __version__

_ROOT = Path(__file__).resolve().parent.parent


def provenance(
    *,
    profile: Path | None = None,
    model: Mapping[str, Any] | None = None,
    engine: str | None = None,
    precision: str | None = None,
    seeds: Sequence[int] = (),
) -> dict[str, Any]:
    """Return the block `provenance` of a JSON file.

    :param profile: the profile's file; its name and sha256 are kept, not where it lies.
    :param model: `name` and `sha256` of the network.
    :param engine: the engine that ran, with what `auto` took.
    :param precision: likewise.
    :param seeds: of all episodes or draws.
    """
    return {
        "version": __version__,
        "commit": _commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]) if sys.argv else "",
        "profile": None if profile is None else {"name": profile.name, "sha256": _digest(profile)},
        "model": None if model is None else dict(model),
        "engine": engine,
        "precision": precision,
        "seeds": list(seeds),
        "machine": {
            "processor": processor(),
            "gpus": list(gpus()),
            "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
        },
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def one_line(block: Mapping[str, Any]) -> str:
    """Return a block of `provenance` as one line for people."""
    commit = f" ({block['commit']})" if block["commit"] else ""
    parts = [f"reticle {block['version']}{commit}"]
    for key in ("profile", "model"):
        if block[key]:
            digest = block[key].get("sha256")
            parts.append(f"{key} {block[key]['name']}" + (f" {digest[:8]}" if digest else ""))
    if block["engine"]:
        parts.append(" ".join(filter(None, (block["engine"], block["precision"]))))
    if seeds := block["seeds"]:
        parts.append(f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {min(seeds)} to {max(seeds)}")
    machine = block["machine"]
    parts += [machine["processor"], *machine["gpus"], f"Python {machine['python']}", machine["system"]]
    parts.append(block["date"])
    return ", ".join(parts)


def files_digest(files: Sequence[Path]) -> str:
    """Return one sha256 of several files' contents, in hex."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(sha256(file).encode())
    return digest.hexdigest()


def _digest(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return sha256(path)
    return None


@functools.cache
def _commit() -> str | None:
    """Return the commit of the clone this runs from, `+` behind it when files differ; None when it is no clone."""
    if not (_ROOT / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        git = ["git", "--no-optional-locks", "-C", str(_ROOT)]  # killed with it, git would leave its lock behind
        options: dict[str, Any] = {"capture_output": True, "text": True, "check": True, "timeout": 5}
        commit = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], **options).stdout.strip()
        dirty = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], **options).stdout.strip()
        return commit + ("+" if dirty else "")
    return None
