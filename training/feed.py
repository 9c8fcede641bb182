"""Batches made ahead of the training, by threads or, where there are many workers, by forked processes.

Processes hand batches over in memory that they share with the trainer: through a pipe, a batch of pictures takes longer
than a step on a GPU.
"""

from __future__ import annotations

import mmap
import multiprocessing
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Arrays = Sequence[NDArray[Any]]
Make = Callable[[int, int, bool], Arrays]
"""Makes the arrays of a batch: epoch, number, whether with mosaic. Every batch has the same shapes and dtypes."""

FEW_WORKERS = 4
"""Up to so many workers are threads; more of them would wait for each other in Python."""


class Feed:
    """Gives the batches of an epoch in order; which worker made one changes nothing in it.

    :param steps: batches of an epoch.
    """

    def __init__(self, make: Make, steps: int, workers: int) -> None:
        self._steps = steps
        self._ahead = workers + 2
        self._pool: Executor
        self._forked = workers > FEW_WORKERS and sys.platform == "linux"
        if not self._forked:
            self._make = make
            self._pool = ThreadPoolExecutor(workers)
            return
        cv2.setNumThreads(1)  # its threads do not survive a fork
        first = make(0, 0, True)
        size = sum(array.nbytes for array in first)
        slots = [mmap.mmap(-1, size) for _ in range(self._ahead)]
        self._like = [(array.shape, array.dtype) for array in first]
        self._slots = slots
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("fork"), initializer=_begin, initargs=(make, slots)
        )
        self._pool.submit(int).result()  # forks now

    def epoch(self, epoch: int, mosaic: bool) -> Iterator[Arrays]:
        """Yield the batches of an epoch."""
        waiting: deque[tuple[int, Future[Any]]] = deque()
        for i in range(self._steps):
            if len(waiting) == self._ahead:
                yield self._taken(*waiting.popleft())
            task = (_into, epoch, i, mosaic, i % self._ahead) if self._forked else (self._make, epoch, i, mosaic)
            waiting.append((i % self._ahead, self._pool.submit(*task)))
        while waiting:
            yield self._taken(*waiting.popleft())

    def close(self) -> None:
        """End the workers."""
        self._pool.shutdown(cancel_futures=True)

    def _taken(self, slot: int, future: Future[Any]) -> Arrays:
        made = future.result()
        # Copied, since the slot is the next worker's as soon as this returns.
        return [a.copy() for a in _views(self._slots[slot], self._like)] if self._forked else made


_MAKE: Make
_SLOTS: Sequence[mmap.mmap]


def _begin(make: Make, slots: Sequence[mmap.mmap]) -> None:
    """Take what the fork brought along."""
    global _MAKE, _SLOTS
    _MAKE, _SLOTS = make, slots


def _into(epoch: int, index: int, mosaic: bool, slot: int) -> None:
    """Make a batch and put it into a slot, in a process of its own."""
    made = _MAKE(epoch, index, mosaic)
    for view, array in zip(_views(_SLOTS[slot], [(a.shape, a.dtype) for a in made]), made, strict=True):
        view[...] = array


def _views(slot: mmap.mmap, like: Sequence[tuple[tuple[int, ...], Any]]) -> list[NDArray[Any]]:
    views, at = [], 0
    for shape, dtype in like:
        count = int(np.prod(shape))
        views.append(np.frombuffer(slot, dtype, count, at).reshape(shape))
        at += count * np.dtype(dtype).itemsize
    return views
