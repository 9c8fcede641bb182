"""Setting values in a profile's file, its comments and layout kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from core.errors import UserError
from core.files import write_atomically
from core.text import read_text


def set_values(path: Path, section: str, values: dict[str, Any]) -> None:
    """Set settings of one of the profile's sections, adding those that are not there.

    :raises UserError: the file cannot be read or written, or is laid out so that it must be edited by hand.
    """
    text = read_text(path, "the profile")
    try:
        edited = _edited(text, section, values)
        after = yaml.safe_load(edited)[section]
        if any(after[key] != value for key, value in values.items()):
            raise ValueError("a value did not arrive")
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        listed = ", ".join(f"{key}: {value}" for key, value in values.items())
        raise UserError(f"{path}: cannot be edited ({error}); write {listed} under {section}: yourself") from error
    write_atomically(path, edited)


def _edited(text: str, section: str, values: dict[str, Any]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("it is no mapping")
    nodes = {key.value: value for key, value in root.value}
    block = nodes.get(section)
    if block is None:
        lines = "".join(f"  {key}: {value}\n" for key, value in values.items())
        return f"{text.rstrip()}\n\n{section}:\n{lines}"
    if not isinstance(block, yaml.MappingNode) or block.flow_style:
        raise ValueError(f"{section} is not written over several lines")
    there = {key.value: value for key, value in block.value}
    first = block.value[0][0].start_mark
    added = "".join(f"{key}: {value}\n{' ' * first.column}" for key, value in values.items() if key not in there)
    edits = [
        (there[key].start_mark.index, there[key].end_mark.index, str(value))
        for key, value in values.items()
        if key in there
    ]
    edits.append((first.index, first.index, added))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text
