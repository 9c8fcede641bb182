"""The one exception that a user is meant to see, and how to put others into one line."""

from __future__ import annotations

import re
import traceback
from pathlib import Path


class UserError(Exception):
    """Something the user can put right, in one clear sentence.

    The command line prints the message alone, without a traceback, and exits with status 2. A message names the file,
    line or value at fault and the remedy. What it quotes of a user's input is made printable here, and cut.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_printable(message))


LONGEST_WORD = 200


def _printable(message: str) -> str:
    """Return a message without control characters but its own line ends, and without words that never end."""
    text = "".join(c if c == "\n" or c.isprintable() else repr(c)[1:-1] for c in message)
    return re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: f"{word[0][: LONGEST_WORD - 3]}...", text)


def summary(error: BaseException) -> str:
    """Return an exception on one line: its type, its message, and the file and line it was raised at."""
    text = " ".join(str(error).split())
    text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{text} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else text


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
