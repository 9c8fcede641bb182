"""A profile of before as one of today: line by line, so that comments stay with what they are about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import UserError

MEASURED = ("fov_deg", "view_width_px", "degrees_per_count", "delay_ms")
"""Settings of the old `aim` that are `calibration`'s now."""
ONLY = {
    "pid": ("integral_per_s", "derivative_s"),
    "predictive": ("smoothing", "coast_ms", "lead_ms", "lead_max_deg"),
}
"""Settings that one controller alone has."""
RENAMED = {"actuation": {"doom": "environment"}}
FRAMES_PER_S = 35
"""Frames a second that a search's degrees a frame are taken to have been at: Doom's."""


@dataclass(frozen=True)
class _Entry:
    """A key of a block mapping and its lines, a comment behind it included."""

    key: str
    value: Any
    node: Any
    start: int
    end: int


def migrated(text: str, path: Path) -> tuple[str, list[str]]:
    """Return a profile's text rewritten, and what was changed, a sentence each; no change gives the text as it is.

    :raises UserError: it is no mapping, or is laid out so that it must be rewritten by hand.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{path}: the profile is not valid YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{path}:1:1: a profile is a mapping of settings")
    lines = text.splitlines()
    sections = {entry.key: entry for entry in _entries(root, len(lines), lines)}
    changes: list[str] = []
    edits: list[tuple[int, int, list[str]]] = []
    for section, names in RENAMED.items():
        if section in sections:
            edits += _renamed(sections[section], section, names, lines, changes, path)
    aim = sections.get("aim")
    if aim is not None and isinstance(aim.node, yaml.MappingNode):
        _search(aim, lines, changes, path)
        keys = {key.value for key, _ in aim.node.value}
        if "plugin" not in keys:
            edits += _aim(aim, lines, changes, path, "calibration" in sections)
    for start, end, new in sorted(edits, key=lambda edit: edit[0], reverse=True):
        lines[start:end] = new
    return ("\n".join(lines) + "\n" if changes else text), changes


def _entries(mapping: Any, end: int, lines: list[str]) -> list[_Entry]:
    """Return the entries of a block mapping, each with its lines up to the next entry's comments."""
    pairs = mapping.value
    found = []
    for i, (key, value) in enumerate(pairs):
        following = pairs[i + 1][0].start_mark.line if i + 1 < len(pairs) else end
        start = key.start_mark.line
        stop = following
        while stop > start + 1 and _is_blank_or_comment(lines[stop - 1], key.start_mark.column):
            stop -= 1
        plain = value.value if isinstance(value, yaml.ScalarNode) else None
        found.append(_Entry(key.value, plain, value, start, stop))
    return found


def _is_blank_or_comment(line: str, column: int) -> bool:
    """Tell whether a line is none of the entry before it: blank, or a comment no deeper than the entries."""
    stripped = line.strip()
    return not stripped or (stripped.startswith("#") and len(line) - len(line.lstrip()) <= column)


def _renamed(
    section: _Entry, name: str, names: dict[str, str], lines: list[str], changes: list[str], path: Path
) -> list[tuple[int, int, list[str]]]:
    for key, value in section.node.value if isinstance(section.node, yaml.MappingNode) else []:
        if key.value == "plugin" and value.value in names:
            line, column = value.start_mark.line, value.start_mark.column
            new = names[value.value]
            old = lines[line]
            changes.append(f"{path}:{line + 1}: {name}.plugin is {new}, formerly {value.value}")
            return [(line, line + 1, [old[:column] + new + old[value.end_mark.column :]])]
    return []


def _search(aim: _Entry, lines: list[str], changes: list[str], path: Path) -> None:
    """Rewrite a search's degrees a frame, in its line."""
    for key, value in aim.node.value:
        if key.value != "search_deg":
            continue
        line, column = key.start_mark.line, key.start_mark.column
        try:
            speed = f"{float(value.value) * FRAMES_PER_S:g}"
        except (TypeError, ValueError):
            speed = ""
        if not speed or value.start_mark.line != line:
            raise UserError(
                f"{path}:{line + 1}: aim.search_deg has no number beside it; write search_deg_per_s by hand"
            )
        old = lines[line]
        between = old[key.end_mark.column : value.start_mark.column]
        lines[line] = old[:column] + "search_deg_per_s" + between + speed + old[value.end_mark.column :]
        changes.append(
            f"{path}:{line + 1}: aim.search_deg_per_s is {speed}, formerly search_deg {value.value} (degrees a frame), "
            f"taken at {FRAMES_PER_S} frames a second; set what suits the game"
        )


def _aim(
    aim: _Entry, lines: list[str], changes: list[str], path: Path, calibrated: bool
) -> list[tuple[int, int, list[str]]]:
    if aim.node.flow_style or not aim.node.value:
        raise UserError(
            f"{path}:{aim.start + 1}: aim is not written over several lines; write it as a block, a setting a line, "
            "and try again"
        )
    if calibrated:
        raise UserError(f"{path}:{aim.start + 1}: aim is of an old form, and there is a calibration already; edit it")
    entries = _entries(aim.node, aim.end, lines)
    by_key = {entry.key: entry for entry in entries}
    indent = " " * aim.node.value[0][0].start_mark.column
    controller = str(by_key["method"].value) if "method" in by_key else "proportional"
    others = {key for name, keys in ONLY.items() if name != controller for key in keys}
    kept: list[str] = [] if "method" in by_key else [f"{indent}plugin: {controller}"]
    moved: list[str] = []
    here = aim.start + 1
    for entry in entries:
        kept += lines[here : entry.start]
        block = lines[entry.start : entry.end]
        if entry.key == "method":
            kept += [block[0].replace("method", "plugin", 1), *block[1:]]
        elif entry.key in MEASURED:
            moved += block
        elif entry.key in others:
            changes.append(
                f"{path}:{entry.start + 1}: aim.{entry.key} is left out; the controller {controller} has none"
            )
        else:
            kept += block
        here = entry.end
    changes.append(f"{path}:{aim.start + 1}: aim names the controller {controller}")
    calibration: list[str] = []
    if moved:
        names = ", ".join(entry.key for entry in entries if entry.key in MEASURED)
        changes.append(f"{path}:{aim.start + 1}: {names} stand under calibration")
        calibration = ["calibration:", *moved, ""]
    return [(aim.start, aim.end, [*calibration, lines[aim.start], *kept])]
