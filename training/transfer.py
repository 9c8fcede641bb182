"""Beginning with another model's weights: layers that are alike, and of the heads what means the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.darknet import Network, Weights

BOX_ROWS = 5
"""Of an anchor's outputs: x, y, width, height, objectness; the classes' come after them."""


@dataclass(frozen=True)
class Transfer:
    """The weights to begin with; how many `layers` were taken over, and which `classes` by their name."""

    weights: Weights
    layers: int
    classes: tuple[str, ...]


def transferred(
    network: Network,
    names: Sequence[str],
    start: Weights,
    source: Network,
    source_names: Sequence[str],
    source_weights: Weights,
) -> Transfer:
    """Return `start` with every convolution replaced that the source has alike at the same place.

    Of a convolution before a head the rows of boxes and objectness are taken over, and those of classes of the same
    name; a class that is new begins as the mean of all.
    """
    arrays = list(start.arrays)
    before = {network.layers[head.index].inputs[0]: head for head in network.heads}
    found = 0
    theirs = zip(source.convolutions, source_weights.arrays, strict=True)
    for i, (mine, (other, values)) in enumerate(zip(network.convolutions, theirs, strict=False)):
        if mine.batch_normalize != other.batch_normalize:
            continue
        head = before.get(mine.index)
        if head is not None and mine.kernel_shape[1:] == other.kernel_shape[1:]:
            rows = _rows(len(head.anchors), names, source_names)
            if rows is not None and other.kernel_shape[0] == len(head.anchors) * (BOX_ROWS + len(source_names)):
                arrays[i] = {key: _taken(value, rows) for key, value in values.items()}
                found += 1
        elif mine.kernel_shape == other.kernel_shape:
            arrays[i] = values
            found += 1
    return Transfer(Weights(arrays), found, tuple(name for name in names if name in source_names))


def _rows(anchors: int, names: Sequence[str], source: Sequence[str]) -> list[list[int]]:
    """Return, for each output of a head, the source's outputs whose mean it begins as."""
    depth = BOX_ROWS + len(source)
    rows: list[list[int]] = []
    for anchor in range(anchors):
        first = anchor * depth
        rows += [[first + k] for k in range(BOX_ROWS)]
        every = list(range(first + BOX_ROWS, first + depth))
        rows += [[every[list(source).index(name)]] if name in source else every for name in names]
    return rows


def _taken(value: NDArray[np.float32], rows: list[list[int]]) -> Any:
    return np.stack([value[some].mean(axis=0) for some in rows]).astype(np.float32)


def backbone(network: Network) -> set[int]:
    """Return the layers that every head is computed from, by their index: what finds features, not boxes."""
    reached = [_behind(network, head.index) for head in network.heads]
    return set.intersection(*reached) if len(reached) > 1 else set()


def _behind(network: Network, index: int) -> set[int]:
    found: set[int] = set()
    waiting = [index]
    while waiting:
        for before in network.layers[waiting.pop()].inputs:
            if before >= 0 and before not in found:
                found.add(before)
                waiting.append(before)
    return found
