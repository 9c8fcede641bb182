"""The game's scripts of shaders: those of one colour or of none, and scripts without some of theirs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_TOKEN = re.compile(r'//[^\n]*|/\*.*?(?:\*/|\Z)|"[^"\n]*"|[{}]|(?:(?!//|/\*)[^\s{}])+', re.DOTALL)


def flat(name: str, colour: str) -> str:
    """Return a shader of one colour, red, green and blue from 0 to 1, which no light changes."""
    return f"{name}\n{{\n\tnopicmip\n\t{{\n\t\tmap $whiteimage\n\t\trgbGen const ( {colour} )\n\t}}\n}}\n"


def unseen(name: str) -> str:
    """Return a shader that draws nothing."""
    return f"{name}\n{{\n\tnopicmip\n\t{{\n\t\tmap $whiteimage\n\t\tblendFunc GL_ZERO GL_ONE\n\t}}\n}}\n"


def without(text: str, names: Collection[str]) -> str:
    """Return a script of shaders without those of these names, which are in lower case."""
    parts, at = [], 0
    for name, start, end in blocks(text):
        if name.lower() in names:
            parts.append(text[at:start])
            at = end
    return "".join((*parts, text[at:]))


def blocks(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each shader of a script, and where its name begins and its block ends."""
    depth, name, start = 0, "", 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word.startswith(("//", "/*")):
            continue
        if word == "{":
            depth += 1
        elif word == "}":
            depth -= 1
            if depth == 0:
                yield name, start, token.end()
        elif depth == 0:
            name, start = word.strip('"'), token.start()
