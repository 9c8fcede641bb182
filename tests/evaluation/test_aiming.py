import pytest

from evaluation.aiming import Overshoot


def fed(*errors: float | None) -> list[float]:
    overshoot = Overshoot()
    for error in errors:
        overshoot.add(error)
    return overshoot.values


def test_the_farthest_point_past_the_target_counts() -> None:
    assert fed(10, 5, 1, -2, -3, -1, 0.5, None) == [3]
    assert fed(-10, -5, 1.5, 0.2, None) == [1.5]


def test_one_that_stops_short_has_none() -> None:
    assert fed(10, 5, 2, 1, 0.5, None) == []


def test_another_target_begins_anew() -> None:
    assert fed(10, 4, -1, 30, 20, 10, 0, -2, None) == [1, 2]


def test_a_target_that_was_near_from_the_start_is_no_test() -> None:
    assert fed(1, -1, 1, -1, None) == []


def test_a_crossing_counts_for_a_second_only() -> None:
    (value,) = fed(10, -1, *[-0.5] * 40, -9)
    assert value == pytest.approx(1)
