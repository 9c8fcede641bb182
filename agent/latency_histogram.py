"""Latency in percentiles: a log-bucket histogram a stage.

Each octave has 16 linear steps: a value is known to within 1/32 of itself, from 1 ns to hours, in a list of
ints that never grows.
"""

from __future__ import annotations

from typing import Final

STAGES: Final = ("grab", "preprocess", "infer", "postprocess", "select", "act")
PERCENTILES: Final = {"p50": 0.50, "p90": 0.90, "p99": 0.99, "p99_9": 0.999}

_BITS = 4  # 2**4 = 16 linear steps an octave: half a step is 1/32 of the value

BUCKETS: Final = (64 - _BITS + 1) << _BITS


class Histogram:
    """Counts of durations in nanoseconds."""

    __slots__ = ("_buckets", "count", "max_ns")

    def __init__(self) -> None:
        self._buckets = [0] * BUCKETS
        self.count = 0
        self.max_ns = 0

    def record(self, ns: int) -> None:
        """Count one duration; a negative one counts as 0."""
        if ns < 0:
            ns = 0
        shift = ns.bit_length() - _BITS - 1
        self._buckets[ns if shift < 0 else (shift << _BITS) + (ns >> shift)] += 1
        self.count += 1
        if ns > self.max_ns:
            self.max_ns = ns

    def percentile_ns(self, part: float) -> float:
        """Return the duration that `part` (0 to 1) of the records do not exceed; 0 when there are none.

        It is the middle of the bucket that holds the record of that rank, never above the maximum.
        """
        rank = max(1, -(-self.count * part // 1))
        if rank >= self.count:
            return float(self.max_ns)
        seen = 0
        for i, n in enumerate(self._buckets):
            seen += n
            if seen >= rank and n:
                return min(middle_ns(i), float(self.max_ns))
        return 0.0

    def buckets(self) -> list[tuple[int, int]]:
        """Return the buckets that hold something, as (number, count)."""
        return [(i, n) for i, n in enumerate(self._buckets) if n]

    def summary_ms(self) -> dict[str, float | int | None]:
        """Return p50, p90, p99, p99_9 and max in milliseconds (None without records), and the count."""
        if not self.count:
            return {**dict.fromkeys((*PERCENTILES, "max")), "count": 0}
        out: dict[str, float | int | None] = {
            name: round(self.percentile_ns(part) / 1e6, 4) for name, part in PERCENTILES.items()
        }
        out["max"] = round(self.max_ns / 1e6, 4)
        out["count"] = self.count
        return out


def middle_ns(bucket: int) -> float:
    """Return the middle of a bucket, nanoseconds."""
    step = 1 << _BITS
    if bucket < 2 * step:
        return float(bucket)
    shift = (bucket >> _BITS) - 1
    low = (bucket - (shift << _BITS)) << shift
    return low + ((1 << shift) - 1) / 2
