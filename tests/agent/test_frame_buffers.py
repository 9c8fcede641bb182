"""Where captures may write their pictures."""

import numpy as np

from agent.frame_buffers import RING, FrameBuffers
from core.errors import UserError


def test_nothing_is_given_until_a_detector_provides_it() -> None:
    buffers = FrameBuffers()
    assert buffers.take((4, 6, 3)) is None
    buffers.provide(lambda shape: np.zeros(shape, np.uint8))
    assert buffers.take((4, 6, 3)) is not None


def test_a_picture_stays_as_it_is_while_the_loop_may_need_it() -> None:
    made: list[np.ndarray] = []

    def make(shape: tuple[int, ...]) -> np.ndarray:
        made.append(np.zeros(shape, np.uint8))
        return made[-1]

    buffers = FrameBuffers()
    buffers.provide(make)
    taken = [buffers.take((2, 2, 3)) for _ in range(3 * RING)]
    assert len(made) == RING, "memory is made once"
    for i, array in enumerate(taken):
        assert not any(np.shares_memory(array, other) for other in taken[i + 1 : i + RING])


def test_a_window_that_changes_its_size_takes_little_memory() -> None:
    made: list[int] = []

    def make(shape: tuple[int, ...]) -> np.ndarray:
        made.append(int(np.prod(shape)))
        return np.zeros(shape, np.uint8)

    buffers = FrameBuffers()
    buffers.provide(make)
    for side in [*range(10, 400), *range(400, 10, -1)]:
        array = buffers.take((side, side, 4))
        assert array is not None
        assert array.shape == (side, side, 4)
        array[...] = side % 256
    assert sum(made) < 4 * RING * 4 * 400**2


def test_where_there_is_no_such_memory_left_ordinary_memory_does() -> None:
    def make(shape: tuple[int, ...]) -> np.ndarray:
        raise UserError("out of memory")

    buffers = FrameBuffers()
    buffers.provide(make)
    assert buffers.take((4, 4, 3)) is None
