from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from evaluation.datasets import Annotated
from tests.pictures import picture
from training.samples import Augment, Batches, Picture, read, recolour, warp

SIZE = (96, 64)


def made(box: tuple[float, ...] = (20, 10, 60, 50)) -> Picture:
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = 255
    boxes = np.array([box], np.float32)
    return Picture(pixels, boxes, np.array([1]), np.array([False]))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_box_moves_with_its_picture(seed: int) -> None:
    changed = warp(made(), SIZE, Augment(scale=1.4), np.random.default_rng(seed))
    white = changed.pixels[..., 0] > 170
    for box in changed.boxes:
        rows, columns = np.flatnonzero(white.any(axis=1)), np.flatnonzero(white.any(axis=0))
        found = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        np.testing.assert_allclose(box, found, atol=1.5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 3))
def test_a_batch_is_drawn_from_the_seed_the_epoch_and_its_number_alone(seed: int, epoch: int) -> None:
    pictures = [made((10 + i, 10, 40 + i, 40)) for i in range(6)]
    batches = Batches(pictures, SIZE, 3, Augment(mosaic=1.0), seed)
    one, boxes = batches.get(epoch, 1, True)
    batches.get(epoch, 0, True)
    two, boxes_too = batches.get(epoch, 1, True)
    assert np.array_equal(one, two)
    assert one.shape == (3, 64, 96, 3)
    for a, b in zip(boxes, boxes_too, strict=True):
        assert np.array_equal(a.boxes, b.boxes)
        assert (a.boxes[:, :2] >= 0).all()
        assert (a.boxes[:, 2:] <= SIZE).all()
    assert not np.array_equal(one, batches.get(epoch + 1, 1, True)[0])


def test_colours_change_and_boxes_do_not() -> None:
    before = Picture(picture(3), made().boxes, np.array([1]), np.array([False]))
    after = recolour(before, Augment(), np.random.default_rng(0))
    assert np.array_equal(before.boxes, after.boxes)
    assert 1 < np.abs(before.pixels.astype(int) - after.pixels).mean() < 80


def record(folder: Path, *boxes: tuple[float, ...]) -> Annotated:
    path = folder / "a.png"
    cv2.imwrite(str(path), picture(0))
    table = np.array(boxes, np.float64).reshape(-1, 4)
    n = len(table)
    return Annotated(path, table, np.zeros(n, np.int64), np.zeros(n, bool), np.ones(n))


def test_no_boxes_and_no_image(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of the pictures has a box"):
        read([record(tmp_path)], SIZE, lambda done: None)
    (tmp_path / "a.png").write_text("no image")
    broken = Annotated(tmp_path / "a.png", np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool), np.zeros(0))
    with pytest.raises(UserError, match="no image or is damaged"):
        read([broken], SIZE, lambda done: None)
