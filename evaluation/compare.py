"""What two players differ in, by how much, and whether that is more than chance.

Episodes with the same seed are pairs. Whether a measure differs is told by a permutation test, which is exact for any
number of episodes; the tests of several measures are held to 5 % together (Holm 1979). How much, by the bootstrap,
widened as few episodes need (Hesterberg, What Teachers Should Know About the Bootstrap, 2015).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.arena import Score
from evaluation.statistics import RESAMPLES, described

SIGNIFICANT = 0.05
EXACT = 12
"""Up to so many pairs all signs are tried."""
PERMUTATIONS = 4000
NORMAL = NormalDist()


@dataclass(frozen=True)
class Difference:
    """How a measure of the second player differs from the first's.

    `first`, `second` the means; `value`, `low`, `high` the second's above the first's, with a 95 % interval; `p` after
    Holm; `better` whether the second is; None where it is chance.
    """

    measure: str
    episodes: int
    first: float
    second: float
    value: float
    low: float
    high: float
    p: float
    better: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as reports have it."""
        rounded = {key: round(getattr(self, key), 4) for key in ("first", "second", "value", "low", "high", "p")}
        verdict = "noise" if self.better is None else "better" if self.better else "worse"
        return {"measure": self.measure, "episodes": self.episodes, **rounded, "verdict": verdict}


def compare(first: Sequence[Score], second: Sequence[Score], paired: bool, seed: int = 0) -> list[Difference]:
    """Return how the second's scores differ from the first's, a row a measure that tables show.

    :param paired: whether episodes with the same scenario and seed are of one kind; else each stands for itself.
    """
    found = []
    for measure in first[0].shown:
        a, b = _values(first, measure), _values(second, measure)
        if paired:
            both = [key for key in a if key in b]
            before, after = np.array([a[key] for key in both]), np.array([b[key] for key in both])
        else:
            before, after = np.array(list(a.values())), np.array(list(b.values()))
        if len(before) < 2 or len(after) < 2:
            continue
        p = _paired_p(after - before, seed) if paired else _unpaired_p(before, after, seed)
        found.append((measure, before, after, p))
    adjusted = holm([p for *_, p in found])
    lower = first[0].lower
    return [
        Difference(
            measure,
            len(after),
            float(before.mean()),
            float(after.mean()),
            *_interval(before, after, paired, seed),
            p,
            None if p >= SIGNIFICANT else bool((after.mean() > before.mean()) != (measure in lower)),
        )
        for (measure, before, after, _), p in zip(found, adjusted, strict=True)
    ]


def _values(scores: Sequence[Score], measure: str) -> dict[tuple[str, int], float]:
    return {
        (score.scenario, score.seed): value for score in scores if (value := score.measures.get(measure)) is not None
    }


def holm(ps: Sequence[float]) -> list[float]:
    """Return p values such that the chance of any false finding among them is as each says (Holm 1979)."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def _paired_p(differences: NDArray[np.float64], seed: int) -> float:
    """Return how often chance signs make the mean at least so far from 0."""
    differences = differences[differences != 0]
    count = len(differences)
    if not count:
        return 1.0
    if count <= EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=count)))
        means = np.abs(signs @ differences)
        return float((means >= abs(differences.sum()) * (1 - 1e-9)).mean())
    signs = np.random.default_rng([seed, 31]).choice((-1.0, 1.0), (PERMUTATIONS, count))
    means = np.abs(signs @ differences)
    return (1 + int((means >= abs(differences.sum()) * (1 - 1e-9)).sum())) / (PERMUTATIONS + 1)


def _unpaired_p(before: NDArray[np.float64], after: NDArray[np.float64], seed: int) -> float:
    """Return how often a chance division of all episodes among the two makes their means differ at least so much."""
    everything = np.concatenate((before, after))
    if np.ptp(everything) == 0:
        return 1.0
    rng = np.random.default_rng([seed, 37])
    order = rng.permuted(np.broadcast_to(everything, (PERMUTATIONS, len(everything))), axis=1)
    drawn = np.abs(order[:, : len(before)].mean(axis=1) - order[:, len(before) :].mean(axis=1))
    real = abs(float(after.mean() - before.mean()))
    return (1 + int((drawn >= real * (1 - 1e-9)).sum())) / (PERMUTATIONS + 1)


def _interval(
    before: NDArray[np.float64], after: NDArray[np.float64], paired: bool, seed: int
) -> tuple[float, float, float]:
    rng = np.random.default_rng([seed, 41])
    value = float(after.mean() - before.mean())
    if paired:
        differences = after - before
        drawn = differences[rng.integers(0, len(differences), (RESAMPLES, len(differences)))].mean(axis=1)
    else:
        drawn = after[rng.integers(0, len(after), (RESAMPLES, len(after)))].mean(axis=1)
        drawn = drawn - before[rng.integers(0, len(before), (RESAMPLES, len(before)))].mean(axis=1)
    # Percentiles as far out as the t distribution needs them, and the spread of a sample is smaller than its kind's.
    count = min(len(before), len(after))
    out = NORMAL.cdf(-_t_975(count - 1) * math.sqrt(count / (count - 1)))
    low, high = np.percentile(drawn, (100 * out, 100 * (1 - out)))
    return value, float(low), float(high)


def _t_975(freedom: int) -> float:
    """Return the 97.5th percentile of the t distribution (Cornish and Fisher's expansion; off by 2 % for 4)."""
    z = NORMAL.inv_cdf(0.975)
    n = float(max(freedom, 2))
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + terms[0] / n + terms[1] / n**2 + terms[2] / n**3


def sentence(first: str, second: str, differences: Sequence[Difference]) -> str:
    """Return in one sentence what differs and how."""
    if not differences:
        return f"{second} and {first} have no measure in common."
    episodes = max(difference.episodes for difference in differences)
    # Two of all 2 ** n signs are as far out as can be, and every measure is a chance to be so.
    fewest = math.ceil(math.log2(2 * len(differences) / SIGNIFICANT))
    real = [difference for difference in differences if difference.better is not None]
    if not real:
        few = f" ({fewest} are the fewest with which anything can be told)" if episodes < fewest else ""
        return f"{second} and {first} differ by no more than chance in {episodes} episodes each{few}."
    parts = [
        f"{'better' if d.better else 'worse'} in {d.measure.replace('_', ' ')} by {abs(d.value):.3g} "
        f"({min(abs(d.low), abs(d.high)):.3g} to {max(abs(d.low), abs(d.high)):.3g})"
        for d in real
    ]
    return f"{second} against {first}, {episodes} episodes each: {', '.join(parts)}."


def heads_and_lines(names: tuple[str, str], differences: Sequence[Difference]) -> tuple[list[str], list[list[str]]]:
    """Return the table of differences as texts."""
    heads = ["measure", names[0], names[1], "difference", "p", "verdict"]
    lines = []
    for d in differences:
        digits = 1 if max(abs(d.first), abs(d.second)) >= 10 else 2
        change = described({"mean": d.value, "low": d.low, "high": d.high})
        verdict = d.to_dict()["verdict"]
        lines.append(
            [
                d.measure.replace("_", " "),
                f"{d.first:.{digits}f}",
                f"{d.second:.{digits}f}",
                change,
                f"{d.p:.3f}",
                verdict,
            ]
        )
    return heads, lines
