"""Settings of a profile given beside it, as `--set aim.gain=0.5`: typed as YAML and checked as the file is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from core.errors import UserError

_PART = re.compile(r"([^.\[\]=]+)|\[(\d+)\]")


@dataclass(frozen=True)
class Override:
    """One setting's path, its value, and how it was written."""

    where: tuple[str | int, ...]
    value: Any
    text: str

    def covers(self, where: Sequence[str | int]) -> bool:
        """Tell whether a place in the profile is this setting or lies within it."""
        return tuple(where[: len(self.where)]) == self.where


def parse_overrides(texts: Sequence[str]) -> list[Override]:
    """Read `path.to.setting=value` each; `guards[0].max_age_ms=50` for entries of a list.

    :raises UserError: one is not written so.
    """
    found = []
    for text in texts:
        path, equals, value = text.partition("=")
        where = _where(path.strip())
        if not equals or not where:
            raise UserError(f'--set {text[:80]}: write it as "section.setting=value", such as aim.gain=0.5')
        try:
            found.append(Override(where, yaml.safe_load(value), text))
        except (yaml.YAMLError, ValueError, AttributeError, TypeError, RecursionError):
            raise UserError(f"--set {text[:80]}: the value is not valid YAML") from None
    return found


def apply_overrides(data: dict[str, Any], overrides: Sequence[Override]) -> None:
    """Put the overrides into a profile's data.

    :raises UserError: a path leads through something that has no settings, or beyond a list's end.
    """
    for override in overrides:
        here: Any = data
        for part, following in zip(override.where, (*override.where[1:], None), strict=True):
            if not (isinstance(part, int) and isinstance(here, list) and part < len(here)) and not (
                isinstance(part, str) and isinstance(here, dict)
            ):
                raise UserError(f"--set {override.text}: the profile has no such place")
            if following is None:
                here[part] = override.value  # type: ignore[index]
            elif isinstance(here, dict):
                here = here.setdefault(part, {})
            else:
                here = here[part]  # type: ignore[index]


def _where(path: str) -> tuple[str | int, ...]:
    """Return a path's parts, empty when it is none."""
    parts: list[str | int] = []
    rest = path
    while rest:
        match = _PART.match(rest)
        if match is None:
            return ()
        parts.append(match[1].strip() if match[1] else int(match[2]))
        rest = rest[match.end() :]
        if rest.startswith("."):
            rest = rest[1:] or "="
    return tuple(int(p) if isinstance(p, str) and p.isdigit() else p for p in parts)
