"""Memory for pictures that a detector's device reads best, which the host hands to captures.

A capture that copies its picture anyway, or can be told where to write it, asks `FrameBuffers.take`; what it gets there
is, with a detector on an NVIDIA card, page-locked. No capture needs to know what a card is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from core.errors import UserError

RING = 4
"""One that the loop works on, one that waits for it, one that is being written, and one to spare: where the capture
grabs when it is asked, not where it runs ahead of the loop."""
GROWTH = 2.0
"""How much larger the memory becomes at the least when a picture does not fit: it cannot be given back, and with this
factor all that is ever made is less than four times what is needed, the least that any can promise."""

Make = Callable[[tuple[int, ...]], NDArray[np.uint8]]
"""Makes an array of a shape."""

log = logging.getLogger("reticle")


class FrameBuffers:
    """A ring of arrays. For captures that grab on demand; taken from by the thread that grabs, alone."""

    def __init__(self) -> None:
        self._make: Make | None = None
        self._ring: list[NDArray[np.uint8]] = []
        self._next = 0

    def provide(self, make: Make) -> None:
        """Say how the memory is made that the detector reads best; detectors do, when they are created."""
        self._make = make

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
        """Return where the next picture may be written, uint8 of this shape; None where all memory is alike.

        It is given again after `RING` pictures.
        """
        if self._make is None:
            return None
        size = int(np.prod(shape))
        if not self._ring or self._ring[0].size < size:
            larger = max(size, int(GROWTH * self._ring[0].size) if self._ring else 0)
            try:
                self._ring = [self._make((larger,)) for _ in range(RING)]
            except UserError as error:
                log.warning("pictures go to the card from ordinary memory: %s", error)
                self._make = None
                return None
        self._next = (self._next + 1) % RING
        return self._ring[self._next][:size].reshape(shape)
