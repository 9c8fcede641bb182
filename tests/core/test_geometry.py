import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.geometry import LETTERBOX, STRETCH, iou, place

side = st.integers(1, 4000)


@given(source=st.tuples(side, side), target=st.tuples(side, side))
def test_a_letterbox_touches_two_edges_keeps_proportions_and_is_centred(source, target) -> None:
    where = place(source, target, LETTERBOX)
    assert where.width == target[0] or where.height == target[1]
    assert 0 <= where.left <= target[0] - where.width
    assert 0 <= where.top <= target[1] - where.height
    assert abs(where.left - (target[0] - where.width - where.left)) <= 1
    assert abs(where.top - (target[1] - where.height - where.top)) <= 1
    scale = min(target[0] / source[0], target[1] / source[1])
    assert abs(where.width - source[0] * scale) <= 1
    assert abs(where.height - source[1] * scale) <= 1
    stretched = place(source, target, STRETCH)
    assert (stretched.left, stretched.top, stretched.width, stretched.height) == (0, 0, *target)


box = st.tuples(*[st.floats(0, 100, width=32)] * 4).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 1, max(b[1], b[3]) + 1)
)


@given(a=st.lists(box, min_size=1, max_size=5), b=st.lists(box, min_size=1, max_size=5))
def test_iou_is_symmetric_in_its_range_and_one_with_itself(a, b) -> None:
    a, b = np.array(a), np.array(b)
    both = iou(a, b)
    assert both.shape == (len(a), len(b))
    assert np.allclose(both, iou(b, a).T)
    assert both.min() >= 0
    assert both.max() <= 1 + 1e-9
    assert np.allclose(np.diag(iou(a, a)), 1)


def test_iou_by_hand() -> None:
    a = np.array([[0, 0, 2, 2]], float)
    assert iou(a, np.array([[1, 0, 3, 2], [2, 2, 3, 3]], float)).tolist() == [[1 / 3, 0.0]]
