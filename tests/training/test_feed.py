import numpy as np
import pytest

from training.feed import FEW_WORKERS, Feed


def make(epoch: int, index: int, mosaic: bool) -> list[np.ndarray]:
    rng = np.random.default_rng([epoch, index, mosaic])
    return [rng.integers(0, 255, (3, 5), np.uint8), rng.normal(size=(2, 4)).astype(np.float32)]


def broken(epoch: int, index: int, mosaic: bool) -> list[np.ndarray]:
    if index == 2:
        raise RuntimeError("no picture")
    return make(epoch, index, mosaic)


@pytest.mark.parametrize("workers", [1, 2, FEW_WORKERS + 1])
@pytest.mark.parametrize("steps", [1, 4, 30])
def test_batches_come_in_order_whoever_makes_them(workers: int, steps: int) -> None:
    feed = Feed(make, steps, workers)
    try:
        for epoch in (0, 1):
            given = list(feed.epoch(epoch, mosaic=epoch == 0))
            assert len(given) == steps
            for i, batch in enumerate(given):
                for one, expected in zip(batch, make(epoch, i, epoch == 0), strict=True):
                    assert one.dtype == expected.dtype
                    assert np.array_equal(one, expected)
    finally:
        feed.close()


@pytest.mark.parametrize("workers", [2, FEW_WORKERS + 1])
def test_what_goes_wrong_in_a_worker_is_told(workers: int) -> None:
    feed = Feed(broken, 5, workers)
    try:
        with pytest.raises(RuntimeError, match="no picture"):
            list(feed.epoch(0, mosaic=True))
    finally:
        feed.close()
