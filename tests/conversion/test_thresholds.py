import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from conversion.histogram import BINS, Histogram
from conversion.quantization import SCHEMES, asymmetric_codes, quantized_weights, symmetric_scale
from conversion.thresholds import METHODS, choose

ACTIVATIONS = arrays(np.float32, st.integers(1, 400), elements=st.floats(-1000, 1000, width=32))


def counted(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(part)
    return histogram


@settings(deadline=None, max_examples=60)
@given(ACTIVATIONS, ACTIVATIONS)
def test_every_number_is_counted_once_on_its_side(first: np.ndarray, second: np.ndarray) -> None:
    histogram = counted(first, second)
    both = np.concatenate((first, second))
    assert histogram.negative.sum() + histogram.positive.sum() == both.size
    assert np.abs(both).max() <= histogram.width * BINS
    for values, counts in ((both[both > 0], histogram.positive), (-both[both < 0], histogram.negative)):
        if values.size:
            # The largest lies in the last bin that is filled, but for what float32 rounds at a bin's edge.
            assert abs(np.flatnonzero(counts)[-1] - values.max() / histogram.width) <= 1.5


@settings(deadline=None, max_examples=40)
@given(ACTIVATIONS, st.sampled_from(sorted(METHODS)), st.sampled_from(SCHEMES))
def test_a_range_holds_zero_and_no_more_than_was_seen(values: np.ndarray, method: str, scheme: str) -> None:
    histogram = counted(values)
    span = choose(histogram, method, scheme)
    assert span.low <= 0 <= span.high
    assert max(-span.low, span.high) <= np.abs(values).max() + histogram.width * 1.01
    if scheme == "symmetric":
        assert span.low == -span.high


def error(values: np.ndarray, span, scheme: str) -> float:
    if scheme == "symmetric":
        scale = symmetric_scale(span)
        coded = np.clip(np.rint(values / scale), -127, 127) * scale
    else:
        scale, zero = asymmetric_codes(span)
        coded = (np.clip(np.rint(values / scale) + zero, 0, 255) - zero) * scale
    return float(((coded - values) ** 2).mean())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_mse_beats_the_other_methods_at_its_own_measure(scheme: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.laplace(0, 1, 200_000).astype(np.float32)
    values = np.where(values < 0, values * 0.1, values)  # as a leaky activation leaves them
    values[:3] = 30  # a few outliers
    histogram = counted(values)
    errors = {method: error(values, choose(histogram, method, scheme), scheme) for method in METHODS}
    assert errors["mse"] <= min(errors.values()) * 1.02
    assert errors["mse"] < errors["max"]


def test_methods_by_hand() -> None:
    values = np.concatenate((np.linspace(0, 1, 100_000, dtype=np.float32), [np.float32(100)]))
    histogram = counted(values)
    assert choose(histogram, "max", "symmetric").high == pytest.approx(100, rel=1e-3)
    assert choose(histogram, "percentile", "symmetric").high == pytest.approx(1, abs=0.1)
    assert choose(histogram, "kl", "symmetric").high < 10
    assert choose(histogram, "mse", "asymmetric").low == 0


def test_merging_histograms_of_different_width_keeps_the_counts() -> None:
    small, large = counted(np.ones(10, np.float32)), counted(np.full(5, -64, np.float32))
    total = Histogram.sum([small, large])
    assert (total.positive.sum(), total.negative.sum()) == (10, 5)
    assert total.width == large.width


def test_weights_are_never_worse_than_by_their_largest() -> None:
    kernel = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)
    kernel[0, 0, 0, 0] = 12
    made = quantized_weights(kernel)
    codes, scales = made.codes, made.scales
    assert codes.dtype == np.int8
    assert codes.min() >= -127
    plain = np.abs(kernel).max(axis=(1, 2, 3)) / 127
    for i in range(4):
        mine = ((codes[i] * scales[i] - kernel[i]) ** 2).sum()
        theirs = ((np.rint(kernel[i] / plain[i]) * plain[i] - kernel[i]) ** 2).sum()
        assert mine <= theirs * 1.0001
