"""Comparing two players: chance is told from more than chance, and how much it is."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.arena import Score
from evaluation.compare import compare, holm, sentence

MEASURES = ("kills", "hits_per_shot", "aim_error_px")


def scores(values: np.ndarray, first_seed: int = 0) -> list[Score]:
    """Return a score a row of values."""
    return [
        Score(
            "agent",
            "s",
            first_seed + i,
            dict(zip(MEASURES, row.tolist(), strict=True)),
            MEASURES,
            {},
            frozenset({"aim_error_px"}),
        )
        for i, row in enumerate(values)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("paired", [True, False])
def test_equal_players_differ_by_chance_in_19_of_20_runs(paired: bool) -> None:
    rng = np.random.default_rng(5)
    found = 0
    for run in range(100):
        one, other = rng.normal(20, 4, (10, 3)), rng.normal(20, 4, (10, 3))
        differences = compare(scores(one), scores(other, 0 if paired else 100), paired, run)
        found += any(difference.better is not None for difference in differences)
    assert found <= 11, "5 of 100 asked, and three standard deviations of as many runs on top"


@pytest.mark.parametrize("paired", [True, False])
def test_a_real_difference_is_found_and_its_size_told(paired: bool) -> None:
    rng = np.random.default_rng(6)
    found = held = 0
    for run in range(60):
        one = rng.normal(20, 2, (10, 3))
        other = rng.normal(20, 2, (10, 3)) + np.array([5, 0, -5])
        kills, hits, error = compare(scores(one), scores(other, 0 if paired else 100), paired, run)
        found += kills.better is True and error.better is True and hits.better is None
        held += kills.low <= 5 <= kills.high
    assert found >= 50
    assert held >= 54


def test_pairing_sees_what_seeds_have_in_common() -> None:
    rng = np.random.default_rng(7)
    luck = rng.normal(20, 10, (12, 1))
    one = luck + rng.normal(0, 0.5, (12, 3))
    other = luck + 2 + rng.normal(0, 0.5, (12, 3))
    assert compare(scores(one), scores(other), True)[0].better is True
    assert compare(scores(one), scores(other), False)[0].better is None


def test_what_is_always_the_same_is_no_difference() -> None:
    same = np.full((10, 3), 26.0)
    assert all(
        d.p == 1 and d.better is None and d.low == d.value == d.high == 0
        for d in compare(scores(same), scores(same), True)
    )
    assert "no more than chance in 10 episodes" in sentence("a", "b", compare(scores(same), scores(same), True))


def test_too_few_episodes_are_said_to_be() -> None:
    few = np.arange(9.0).reshape(3, 3)
    assert "7 are the fewest" in sentence("a", "b", compare(scores(few), scores(few + 100), True))


def test_the_sentence_says_what_is_worse() -> None:
    one = np.random.default_rng(8).normal(20, 1, (10, 3))
    said = sentence("old", "new", compare(scores(one), scores(one + np.array([-9, 0, 9])), True))
    assert said.startswith(
        "new against old, 10 episodes each: worse in kills by 9 (9 to 9), worse in aim error px by 9"
    )


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_makes_a_finding_likelier_and_keeps_their_order(ps: list[float]) -> None:
    adjusted = holm(ps)
    assert all(p <= a <= 1 for p, a in zip(ps, adjusted, strict=True))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert all(adjusted[a] <= adjusted[b] for a, b in itertools.pairwise(order))
    assert max(adjusted) <= min(1.0, max(len(ps) * p for p in ps) + 1e-12)
