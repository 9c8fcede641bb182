"""Intervals of AP: the figure is pycocotools', and the interval holds it as often as it says."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.accuracy import coco
from evaluation.datasets import Annotated
from evaluation.intervals import AP50, difference, interval, match


def world(rng: np.random.Generator, pictures: int, found: float, classes: int = 3):
    """Pictures with boxes, and what a detector that finds a share of them gives."""
    images, rows = [], []
    for i in range(pictures):
        count = int(rng.integers(0, 5))
        corner = rng.uniform(0, 300, (count, 2))
        boxes = np.hstack((corner, corner + rng.uniform(20, 90, (count, 2))))
        kinds = rng.integers(0, classes, count)
        crowd = rng.random(count) < 0.1
        images.append(Annotated(Path(f"{i}.jpg"), boxes, kinds, crowd, np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)))
        seen = rng.random(count) < found
        given = boxes[seen] + rng.normal(0, 3, (seen.sum(), 4))
        wrong = rng.uniform(0, 200, (int(rng.integers(0, 3)), 2))
        all_boxes = np.vstack((given, np.hstack((wrong, wrong + 40)))).astype(np.float32)
        order = np.argsort(-(scores := rng.random(len(all_boxes)).astype(np.float32)))
        all_kinds = np.concatenate((kinds[seen], rng.integers(0, classes, len(wrong)))).astype(np.int32)
        rows.append((all_boxes[order], scores[order], all_kinds[order]))
    return rows, images


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), pictures=st.integers(1, 12), found=st.sampled_from([0.0, 0.5, 1.0]))
def test_the_figure_is_pycocotools_own(seed: int, pictures: int, found: float) -> None:
    rows, images = world(np.random.default_rng(seed), pictures, found)
    ap, ap50, _ = coco(rows, images)
    matches = match(rows, images)
    assert abs(interval(matches).value - ap) < 1e-6
    assert abs(interval(matches, AP50).value - ap50) < 1e-6


def test_a_detector_that_finds_nothing_has_no_points() -> None:
    _, images = world(np.random.default_rng(0), 5, 1.0)
    empty = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32))
    found = interval(match([empty] * 5, images))
    assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.slow
def test_the_interval_narrows_with_the_pictures_and_a_difference_is_paired() -> None:
    few, many = (match(*world(np.random.default_rng(1), n, 0.7)) for n in (40, 640))
    widths = [i.high - i.low for i in (interval(few, AP50), interval(many, AP50))]
    assert widths[1] < widths[0] / 2
    rows, images = world(np.random.default_rng(2), 200, 0.8)
    fewer = [tuple(part[:-1] if i % 20 == 0 else part for part in row) for i, row in enumerate(rows)]
    lost = difference(match(rows, images), match(fewer, images), AP50)
    alone = interval(match(rows, images), AP50)
    assert lost.high - lost.low < (alone.high - alone.low) / 2
    same = difference(match(rows, images), match(rows, images))
    assert (same.value, same.low, same.high) == (0, 0, 0)
