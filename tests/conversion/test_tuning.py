"""The choice of how to quantise: what it takes, and what it takes for chance."""

from dataclasses import dataclass

import numpy as np
import pytest

from conversion.convert import Material
from conversion.output_error import executor, gain
from conversion.quantization import SCHEMES
from conversion.tuning import FLOAT_LAYERS, PLAIN, WAYS, Tuning, pictures_needed
from tests.networks import small


@dataclass
class Loss:
    value: float
    low: float = -1.0
    high: float = 1.0


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_way_is_tried_and_a_way_is_taken_only_beyond_chance(material: Material, scheme: str) -> None:
    rows = []
    network, _ = small()
    how = Tuning(network, lambda engine: Loss(0.0), 0.3, rows, lambda row: None).search(material, scheme)
    tried = [row for row in rows if row.loss is None]
    assert len(tried) - len(WAYS) in (1, 2), "the last puts layers back to float, where any is worth it"
    assert (tried[0].method, tried[0].rounding, tried[0].heads) == (PLAIN.method, PLAIN.rounding, PLAIN.heads)
    for row in tried[1:]:
        assert row.chosen == (row.better[1] > 0)
    last = [row for row in tried if row.chosen][-1]
    assert (how.method, how.rounding, how.heads, how.keep) == (last.method, last.rounding, last.heads, last.keep)


@pytest.mark.slow
def test_sensitive_layers_go_back_to_float_until_the_loss_is_within_the_budget(material: Material) -> None:
    network, _ = small()
    losses = iter([0.9, 0.6, 0.2])
    rows, told = [], []
    how = Tuning(network, lambda engine: Loss(value := next(losses), value - 0.1), 0.3, rows, told.append).search(
        material, "asymmetric"
    )
    assert told == rows
    measured = [row for row in rows if row.loss is not None]
    worth = len(measured[0].keep)
    assert [len(row.keep) - worth for row in measured] == [0, 1, 2]
    assert len(how.keep) == worth + 2 <= worth + FLOAT_LAYERS
    assert [row.chosen for row in measured] == [False, False, True]
    assert measured[2].error < measured[0].error, "what is float adds no error"


@pytest.mark.slow
def test_a_loss_that_chance_may_have_made_costs_no_layer(material: Material) -> None:
    network, _ = small()
    rows: list = []
    Tuning(network, lambda engine: Loss(0.6, -0.2, 1.4), 0.3, rows, lambda row: None).search(material, "asymmetric")
    assert len([row for row in rows if row.loss is not None]) == 1


def resampled(rng: np.random.Generator, better: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors of two ways on 100 pictures, whose differences deviate by ten times as much as `better` is apart."""
    scores = rng.uniform(0.5, 6, 100)
    first = scores * rng.uniform(0.05, 0.2, 100)
    second = first * (1 - better + rng.normal(0, 0.1, 100))
    return np.stack((first, scores), 1), np.stack((second, scores), 1)


def test_of_two_equal_ways_the_simpler_is_taken_and_of_two_that_differ_the_better() -> None:
    rng = np.random.default_rng(3)
    equal = sum(gain(*resampled(rng, 0.0), 0.05 / len(WAYS))[1] > 0 for _ in range(100))
    assert equal <= 5
    differ = sum(gain(*resampled(rng, 0.05), 0.05 / len(WAYS))[1] > 0 for _ in range(100))
    assert differ >= 90


def test_how_many_pictures_would_tell() -> None:
    assert pictures_needed(Loss(0.1, -0.1, 0.3), 2000, 0.3) is None
    assert pictures_needed(Loss(0.1, -0.5, 0.7), 158, 0.3) == 158 * 4


def test_what_runs_a_scheme_computes_it(material: Material) -> None:
    for scheme in SCHEMES:
        engine = executor(material.quantized(scheme, PLAIN), scheme)
        engine.input[...] = 0.5
        exact = executor(material.quantized(scheme, PLAIN), "symmetric")
        exact.input[...] = 0.5
        for a, b in zip(engine.infer(), exact.infer(), strict=True):
            assert np.abs(a - b).max() <= 0.05 * np.abs(b).max()
