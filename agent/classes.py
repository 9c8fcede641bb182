"""Class names, as settings give them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from core.errors import UserError


def class_index(name: str, names: Sequence[str], where: str) -> int:
    """Return a class's number.

    :param where: the setting that gives the name.
    :raises UserError: the detector does not know it; the message names the nearest that it knows.
    """
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"it knows: {', '.join(names[:20])}"
    raise UserError(f'{where}: the detector knows no class "{name}"; {hint}')
