import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from evaluation.calibrate import Turn, fit, minimised, went


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**16), outliers=st.integers(0, 8))
def test_the_fit_is_scipys_with_the_same_loss(seed: int, outliers: int) -> None:
    from scipy.optimize import least_squares

    random = np.random.default_rng(seed)
    x = np.linspace(-1, 1, 60)
    y = 1.3 * np.tan(0.7 * x) + random.normal(0, 0.02, 60)
    y[random.choice(60, outliers, replace=False)] += 5

    def residuals(p: np.ndarray) -> np.ndarray:
        return p[0] * np.tan(p[1] * x) - y

    ours = minimised(residuals, np.array([1.0, 1.0]), 0.1)
    theirs = least_squares(residuals, [1.0, 1.0], loss="soft_l1", f_scale=0.1, xtol=1e-12, ftol=1e-12)
    cost = 0.01 * (np.sqrt(1 + (residuals(ours) / 0.1) ** 2) - 1).sum()
    assert cost <= theirs.cost + 1e-9 or np.allclose(ours, theirs.x, atol=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_it_finds_the_turn_and_the_field_of_view_through_noise_and_wrong_matches(known: bool) -> None:
    random = np.random.default_rng(1)
    width, fov, per_count = 640.0, 90.0, 0.13
    focal = width / 2 / math.tan(math.radians(fov) / 2)
    turns = []
    for i in range(24):
        counts = (40 + i) * (-1) ** i
        before = random.uniform(-300, 300, 60)
        after = went(before, math.radians(per_count * counts), focal) + random.normal(0, 0.3, 60)
        after[:6] += random.uniform(-40, 40, 6)  # monsters
        turns.append(Turn(counts, before, after))
    found = fit(turns, width, fov if known else None)
    assert found.degrees_per_count == pytest.approx(per_count, rel=0.005)
    assert found.fov_deg == pytest.approx(fov, abs=1e-9 if known else 1.0)
    assert found.low <= found.degrees_per_count <= found.high


def test_turns_that_show_nothing_are_one_sentence() -> None:
    still = [Turn(40, np.zeros(30), np.zeros(30)) for _ in range(24)]
    with pytest.raises(UserError, match="look at a place with more to see"):
        fit(still, 640, 90)
