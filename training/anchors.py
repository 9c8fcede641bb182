"""Anchors by k-means on the boxes of the data, with 1 - IoU as the distance (Redmon and Farhadi, YOLO9000, 2017)."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.samples import Picture

ROUNDS = 300


def find(pictures: Sequence[Picture], count: int, seed: int = 0) -> list[tuple[int, int]]:
    """Return `count` anchors, width and height in pixels of the network's input, the smallest first."""
    sizes = np.concatenate([p.boxes[~p.crowd, 2:] - p.boxes[~p.crowd, :2] for p in pictures]).astype(np.float64)
    sizes = sizes[(sizes > 0).all(axis=1)]
    rng = np.random.default_rng(seed)
    # Spread over the areas there are, so that no centre starts without a box.
    order = np.argsort(sizes.prod(axis=1))
    centres = sizes[order[((np.arange(count) + 0.5) / count * len(sizes)).astype(int)]]
    for _ in range(ROUNDS):
        nearest = np.argmax(overlaps(sizes, centres), axis=1)
        new = np.array(
            [
                np.median(sizes[nearest == k], axis=0) if (nearest == k).any() else sizes[rng.integers(len(sizes))]
                for k in range(count)
            ]
        )
        if np.allclose(new, centres):
            break
        centres = new
    centres = centres[np.argsort(centres.prod(axis=1))]
    return [(max(1, round(float(w))), max(1, round(float(h)))) for w, h in centres]


def overlaps(sizes: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU of boxes with a common corner, (boxes, centres)."""
    shared = np.minimum(sizes[:, None], centres[None]).prod(axis=2)
    return shared / (sizes.prod(axis=1)[:, None] + centres.prod(axis=1)[None] - shared)


def with_anchors(cfg: str, anchors: Sequence[tuple[int, int]]) -> str:
    """Return a cfg with other anchors in each of its [yolo] sections."""
    listed = ", ".join(f"{w},{h}" for w, h in anchors)
    return re.sub(r"(?m)^(\s*anchors\s*=).*$", rf"\1 {listed}", cfg)
