"""Where captures may write their pictures."""

import numpy as np

from agent.frame_buffers import RING, FrameBuffers


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
        assert all(array is not other for other in taken[i + 1 : i + RING])
    assert buffers.take((3, 3, 4)).shape == (3, 3, 4)
