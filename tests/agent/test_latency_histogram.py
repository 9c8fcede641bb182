import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.latency_histogram import Histogram

NS = st.integers(0, 10**12)


@given(st.lists(NS, min_size=1, max_size=300), st.sampled_from([0.0, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_percentiles_are_within_a_32nd(values: list[int], part: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    exact = float(np.quantile(values, part, method="inverted_cdf"))
    assert abs(histogram.percentile_ns(part) - exact) <= exact / 32 + 0.5
    assert histogram.count == len(values)
    assert histogram.max_ns == max(values)


@given(st.lists(NS, min_size=1, max_size=100))
def test_a_summary_never_falls(values: list[int]) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    summary = histogram.summary_ms()
    rising = [summary[key] for key in ("p50", "p90", "p99", "p99_9", "max")]
    assert rising == sorted(rising)


def test_small_numbers_are_exact_and_nothing_is_zero() -> None:
    histogram = Histogram()
    assert histogram.summary_ms() == {"p50": None, "p90": None, "p99": None, "p99_9": None, "max": None, "count": 0}
    for value in (-5, 3, 3, 17):
        histogram.record(value)
    assert [histogram.percentile_ns(p) for p in (0.25, 0.5, 0.75, 1.0)] == [0, 3, 3, 17]
