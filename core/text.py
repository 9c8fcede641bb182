"""Text files as the world writes them: any line ending, a byte order mark or none; and values quoted in messages."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import UserError, first_line

LONGEST_NAME = 200
"""Characters of a class name, or of what a message quotes."""
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what is not seen: control and format characters, surrogates, those without a meaning, line
and paragraph ends."""


def read_text(path: Path, what: str, any_encoding: bool = False) -> str:
    r"""Return a text file's contents with \n for every line ending: UTF-8, or UTF-16 with its byte order mark.

    :param what: what the file is, with its article, for the sentence.
    :param any_encoding: bytes that are not UTF-8 are let pass as replacement characters: for files in which only
        comments are in other letters.
    :raises UserError: it cannot be read or is not text.
    """
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        if path.is_dir():  # Windows calls it a lack of permission
            reason = "this is a folder"
        raise UserError(f"{path}: {what} cannot be read: {reason}") from error
    encoding = "utf-8"
    for mark, marked in _BOMS:
        if data.startswith(mark):
            data, encoding = data[len(mark) :], marked
            break
    try:
        text = data.decode(encoding, "replace" if any_encoding else "strict")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {what} cannot be read: it is not text in UTF-8; save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, what: str) -> Any:
    """Return the contents of a JSON file, whose numbers are finite.

    :raises UserError: it cannot be read or is not JSON.
    """
    return parse_json(read_text(path, what), path, what)


def parse_json(text: str, path: Path | str, what: str) -> Any:
    """Return what a JSON text says; see `read_json`.

    :param path: the file, and the line where it has many, for the sentence.
    """
    try:
        return json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except RecursionError as error:
        raise UserError(f"{path}: {what} cannot be read: it is nested too deep") from error
    except ValueError as error:
        raise UserError(f"{path}: {what} cannot be read: it is not JSON ({shown(first_line(error))})") from error


def to_json(data: Any, indent: int | None = 2) -> str:
    """Return data as JSON; a number that is not finite, which JSON has no word for, is null."""
    return json.dumps(_finite_only(data), indent=indent, allow_nan=False) + "\n"


def _finite_only(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite_only(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite_only(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def read_yaml(path: Path, what: str) -> Any:
    """Return the contents of a YAML file.

    :raises UserError: it cannot be read or is not YAML.
    """
    import yaml

    text = read_text(path, what)
    try:
        return yaml.safe_load(text)
    except RecursionError as error:
        raise UserError(f"{path}: {what} cannot be read: it is nested too deep") from error
    except (yaml.YAMLError, ValueError, AttributeError, TypeError) as error:  # the last two for values like `!!int x`
        raise UserError(f"{path}: {what} cannot be read: it is not YAML ({shown(first_line(error))})") from error


def validated(schema: Any, data: Any, path: Path | str, what: str) -> Any:
    """Return what a pydantic model or type makes of data that was read back.

    :raises UserError: it is not of that form; the sentence names the first field at fault.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(schema).validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise UserError(f"{path}: {what} is damaged: {shown(where)}: {shown(first['msg'])}") from error
    except RecursionError as error:
        raise UserError(f"{path}: {what} is damaged: it is nested too deep") from error


def number(value: Any) -> float:
    """Return a finite number that is given as one, or as its text in decimal digits.

    :raises ValueError: it is neither, as true, "1_0" and "nan" are not.
    """
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()):
        raise ValueError(f"{shown(value)!r} is no number")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{shown(value)} is no number")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise ValueError(f"{shown(value)} is no finite number")
    return result


def class_name(value: Any, where: str) -> str:
    """Return a class name without white space around it.

    :param where: the file and line, for the sentence.
    :raises UserError: it is no text, is empty or too long, or has control characters.
    """
    if not isinstance(value, str):
        raise UserError(f"{where}: a class name is text, not {shown(value)}")
    name = value.strip()
    if not name:
        raise UserError(f"{where}: a class name is empty")
    if any(unicodedata.category(c) in _UNSEEN for c in name):
        raise UserError(f'{where}: the class name "{shown(name)}" has control characters; write it without')
    if len(name) > LONGEST_NAME:
        raise UserError(f'{where}: the class name "{shown(name)}" is longer than {LONGEST_NAME} characters')
    return name


def class_names(values: Any, where: str) -> tuple[str, ...]:
    """Return class names, each of its own.

    :raises UserError: one is no name, or stands there twice.
    """
    names: list[str] = []
    known: set[str] = set()
    for value in values:
        name = class_name(value, where)
        if name in known:
            raise UserError(f'{where}: the class name "{name}" stands here twice; a class has a name of its own')
        known.add(name)
        names.append(name)
    return tuple(names)


def shown(value: Any, limit: int = 80) -> str:
    """Return a value as a message may quote it: on one line, printable, `limit` characters at the most."""
    text = value if isinstance(value, str) else _as_json(value)
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(value: Any) -> str:
    """Return a scalar as Python writes it, cut as `shown` cuts."""
    return f"'{shown(value)}'" if isinstance(value, str) else shown(value) if _is_large(value) else repr(value)


def _is_large(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() > 1000


def _as_json(value: Any) -> str:
    if _is_large(value):
        return "a number of more than 300 digits"
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is no finite number")
    return value


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV; a column stands where a key comes first, and is empty in rows without it."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
