"""What the layouts of a detector's outputs have in common.

A layout says what a family's exporter writes: which outputs there are, what their numbers mean, and how pixels are
prepared. Each is a file here; `engine.layouts` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.boxes import Rows, Table
from engine.onnx_input import InputSpec

Arrays = Sequence[NDArray[np.floating]]
STRIDES = ((8, 16, 32), (4, 8, 16, 32), (8, 16, 32, 64), (16, 32), (8, 16))
"""Of the heads of the networks that there are; the first is the usual one."""
MOST = 1000
"""Boxes: a table of more is no list of what was found."""


@dataclass(frozen=True)
class Tensor:
    """An output; a dimension that is not fixed is None."""

    name: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """What an ONNX file says of itself, at an input size in pixels."""

    outputs: tuple[Tensor, ...]
    metadata: Mapping[str, str]
    width: int
    height: int
    names: int | None = None
    """How many class names were given, in its metadata or by the user."""

    @property
    def task(self) -> str:
        """What an exporter calls its task, such as `detect`; empty where it says nothing."""
        return self.metadata.get("task", "")

    def named(self, *names: str) -> list[Tensor] | None:
        """Return outputs by their names, None where one is missing."""
        found = {tensor.name: tensor for tensor in self.outputs}
        return [found[name] for name in names] if all(name in found for name in names) else None

    def tables(self) -> list[Tensor]:
        """Return the outputs that are tables, (1, a, b)."""
        return [t for t in self.outputs if len(t.shape) == 3 and t.shape[0] == 1 and None not in t.shape]

    def cells(self) -> list[tuple[int, tuple[int, ...]]]:
        """Return how many cells the heads have together, with their strides, for each kind of network."""
        return [
            (sum(-(-self.width // stride) * -(-self.height // stride) for stride in strides), strides)
            for strides in STRIDES
        ]


class Layout(Protocol):
    """How a network's outputs are read."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Those that are read, in order; others are left alone."""

    @property
    def classes(self) -> int:
        """How many are told apart."""

    def decode(self, outputs: Arrays, threshold: float) -> Rows:
        """Return what has a score above the threshold, before NMS.

        :param outputs: as an engine gives them, without the batch: (a, b) or (a,).
        """

    def table(self, outputs: Arrays) -> Table:
        """Return every candidate. Their order is the same from run to run where `ordered` says so."""


@dataclass(frozen=True)
class Family:
    """A layout as it is listed: how to recognise it, and what its networks want.

    :param recognise: returns the layout of a signature, None where it is another's.
    :param nms: whether boxes still overlap.
    :param counts_by_names: whether nothing but the class names says how many classes there are.
    :param ordered: whether a candidate has its place in the table, whatever its score.
    """

    name: str
    title: str
    form: str
    recognise: Callable[[Signature], Layout | None]
    spec: InputSpec
    nms: bool = True
    ordered: bool = True
    counts_by_names: bool = False


def listed(rows: NDArray[np.floating], classes: int, threshold: float) -> Rows:
    """Return what is above a threshold of rows of box, score and class; a class that there is none of is left out."""
    rows = rows[np.flatnonzero(rows[:, 4] > threshold)].astype(np.float32)
    kinds = np.rint(rows[:, 5]).astype(np.int32)
    known = np.flatnonzero((kinds >= 0) & (kinds < classes))
    return rows[known, :4], rows[known, 4], kinds[known]


def spread(rows: Rows, classes: int) -> Table:
    """Return rows as a table, each with the score of its one class."""
    boxes, best, kinds = rows
    scores = np.zeros((len(boxes), classes), np.float32)
    scores[np.arange(len(boxes)), kinds] = best
    return boxes, scores


def corners(centred: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return xyxy of centre x, centre y, width and height, (n, 4)."""
    half = centred[:, 2:4] / 2
    return np.concatenate((centred[:, :2] - half, centred[:, :2] + half), axis=1).astype(np.float32, copy=False)
