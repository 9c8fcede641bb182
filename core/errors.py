"""The one exception that a user is meant to see, and how to put others into one line."""

from __future__ import annotations

import traceback
from pathlib import Path


class UserError(Exception):
    """Something the user can put right, in one clear sentence.

    The command line prints the message alone, without a traceback, and exits with status 2. A message names the file,
    line or value at fault and the remedy.
    """


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
