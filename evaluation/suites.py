"""Suites: a game's scenarios played and tabled together, beside what others have published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from agent.factories import CaptureFactory, Suite
from agent.profile import LoadedProfile
from core.errors import UserError
from evaluation import figures
from evaluation.arena import Score, Trial
from evaluation.statistics import RESAMPLES, bounds, described
from evaluation.tournament import ArenaConfig, ArenaResult


@dataclass(frozen=True)
class Offered:
    """A suite, and the capture that offers it."""

    name: str
    suite: Suite
    capture: str


def offered(loaded: LoadedProfile) -> dict[str, Offered]:
    """Return all suites of the captures that are there, by name."""
    found: dict[str, Offered] = {}
    for name, offer in loaded.catalogue.offers["capture"].items():
        factory = offer.factory
        if isinstance(factory, CaptureFactory):
            found |= {suite: Offered(suite, content, name) for suite, content in factory.suites.items()}
    return found


def find(loaded: LoadedProfile, name: str, others: Sequence[str] = ()) -> Offered:
    """Return a suite by its name.

    :param others: names that the caller takes besides, for the message.
    :raises UserError: there is none.
    """
    known = offered(loaded)
    if name not in known:
        raise UserError(f'--suite is "{name}"; known are: {", ".join([*others, *known])}')
    return known[name]


def configured(config: ArenaConfig, found: Offered, loaded: LoadedProfile) -> ArenaConfig:
    """Return what plays a suite: the profile's detector, selection and controller in the suite's scenarios.

    :param config: what is empty in it is as the suite has it.
    """
    own: tuple[str, ...] = ()
    if loaded.roles.capture.name != found.capture or loaded.profile.mode != "lock-step":
        own = (
            f"capture={{plugin: {found.capture}}}",
            "actuation={plugin: environment}",
            "mode=lock-step",
            "guards=[]",
        )
    suite = found.suite
    return replace(
        config,
        overrides=(*own, *config.overrides),
        scenarios=config.scenarios or tuple(suite.scenarios),
        variants=suite.variants,
        baselines=config.baselines or suite.baselines,
        controllers=config.controllers or suite.controllers,
        latencies_ms=config.latencies_ms if any(config.latencies_ms) else suite.latencies_ms,
    )


def main_measures(result: ArenaResult, suite: Suite) -> dict[str, str]:
    """Return the measure that each scenario is about, of those that were played."""
    return {row["scenario"]: suite.scenarios.get(row["scenario"], result.shown[0]) for row in result.rows}


def heads_and_lines(result: ArenaResult, suite: Suite) -> tuple[list[str], list[list[str]]]:
    """Return the table of each scenario's main measure as texts.

    A column a player, and the best that is published; or, where latency is injected, a column a latency.
    """
    if len({row["latency_ms"] for row in result.rows}) > 1:
        return _by_latency(result, suite)
    players = list(dict.fromkeys(row["who"] for row in result.rows))
    measures = main_measures(result, suite)
    best = _best(suite)
    keys: dict[tuple[str, str], dict[str, Any]] = {}
    for row in result.rows:
        keys.setdefault((row.get("variant", ""), row["scenario"]), {})[row["who"]] = row
    heads = ["variant", "scenario", "measure", *players, *(["published"] if suite.published else [])]
    lines = []
    for (variant, scenario), by_player in keys.items():
        measure = measures[scenario]
        values = [described(by_player[who][measure]) if who in by_player else "-" for who in players]
        published = best.get((scenario, measure))
        other = [f"{published[1]:g} {published[0]}" if published else "-"] if suite.published else []
        lines.append([variant, scenario, measure.replace("_", " "), *values, *other])
    return _without_what_is_alike(heads, lines, ("variant", "measure"))


def _by_latency(result: ArenaResult, suite: Suite) -> tuple[list[str], list[list[str]]]:
    latencies = sorted({row["latency_ms"] for row in result.rows})
    measures = main_measures(result, suite)
    keys: dict[tuple[str, str, str], dict[float, Any]] = {}
    for row in result.rows:
        keys.setdefault((row.get("variant", ""), row["scenario"], row["who"]), {})[row["latency_ms"]] = row
    heads = ["variant", "scenario", "measure", "who", *(f"{latency:g} ms" for latency in latencies)]
    lines = [
        [
            variant,
            scenario,
            measures[scenario].replace("_", " "),
            who,
            *(described(by_latency[at][measures[scenario]]) if at in by_latency else "-" for at in latencies),
        ]
        for (variant, scenario, who), by_latency in keys.items()
    ]
    for name, value, _ in suite.human:
        for scenario in (scenario for scenario, measure in measures.items() if measure == name):
            lines.append(["", scenario, name.replace("_", " "), "people", f"{value:g}", *["-"] * (len(latencies) - 1)])
    order = {scenario: place for place, scenario in enumerate(measures)}
    lines.sort(key=lambda line: order[line[1]])
    return _without_what_is_alike(heads, lines, ("variant", "measure"))


def _without_what_is_alike(
    heads: list[str], lines: list[list[str]], droppable: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Leave out columns that say the same in every line."""
    kept = [i for i, head in enumerate(heads) if head not in droppable or len({line[i] for line in lines}) > 1]
    return [heads[i] for i in kept], [[line[i] for i in kept] for line in lines]


def means(
    trials: Sequence[Trial], scores: Sequence[Score], suite: Suite, reference: str = "oracle"
) -> list[dict[str, Any]]:
    """Return each player's mean over all scenarios, and its share of the reference's, with 95 % intervals.

    Episodes are drawn again within each scenario, as scenarios are no sample of anything. A row a variant, latency and
    player, for scenarios that are about the same measure.
    """
    groups: dict[tuple[str, float, str, str], dict[str, list[float]]] = {}
    for trial, score in zip(trials, scores, strict=True):
        measure = suite.scenarios.get(score.scenario)
        value = score.measures.get(measure) if measure else None
        if measure is not None and value is not None:
            key = (trial.variant, trial.disturbance.latency_ms, measure, trial.player.name or score.who)
            groups.setdefault(key, {}).setdefault(score.scenario, []).append(value)
    drawn = {key: _resampled(group, seed) for seed, (key, group) in enumerate(groups.items())}
    rows = []
    for (variant, latency, measure, who), group in groups.items():
        value, resamples = drawn[variant, latency, measure, who]
        row = {
            "who": who,
            "variant": variant,
            "latency_ms": latency,
            "measure": measure,
            "scenarios": len(group),
            "mean": _interval(value, resamples),
        }
        other = drawn.get((variant, latency, measure, _like(who, reference)))
        if other is not None and who != _like(who, reference) and other[0]:
            row["share_of_reference"] = _interval(value / other[0], resamples / np.maximum(other[1], 1e-9))
        rows.append(row)
    return rows


def mean_lines(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of `means` as texts."""
    heads = ["who", "variant", "latency ms", "measure", "scenarios", "mean", "of the oracle's"]
    return heads, [
        [
            row["who"],
            row["variant"],
            f"{row['latency_ms']:g}",
            row["measure"].replace("_", " "),
            str(row["scenarios"]),
            described(row["mean"]),
            described(row.get("share_of_reference")),
        ]
        for row in rows
    ]


def to_dict(found: Offered, means: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the JSON has beside rows and episodes."""
    return {
        "suite": found.name,
        "means": list(means),
        "published": [asdict(result) for result in found.suite.published],
        "human": [{"measure": m, "value": v, "source": source} for m, v, source in found.suite.human],
    }


def draw(result: ArenaResult, found: Offered) -> bytes:
    """Return one page of the suite: each scenario's main measure, against latency where there are several, PNG."""
    measures = main_measures(result, found.suite)
    scenarios = list(measures)
    latencies = sorted({row["latency_ms"] for row in result.rows})
    if len(latencies) > 1:
        return _curves(result, found, scenarios, measures)
    drawn = figures.figure(max(8.0, 0.6 * len(scenarios)), 5)
    axes = drawn.subplots(1, 1)
    series = list(dict.fromkeys((row["who"], row.get("variant", "")) for row in result.rows))
    for place, (who, variant) in enumerate(series):
        rows = {r["scenario"]: r for r in result.rows if (r["who"], r.get("variant", "")) == (who, variant)}
        values = [rows[name][measures[name]] for name in scenarios]
        x = np.arange(len(scenarios)) + 0.8 * (place - (len(series) - 1) / 2) / len(series)
        means = np.array([np.nan if v is None else v["mean"] for v in values])
        errors = [[np.nan if v is None else abs(v["mean"] - v[end]) for v in values] for end in ("low", "high")]
        label = f"{who}, {variant}" if variant else who
        axes.errorbar(x, means, yerr=errors, fmt="o", markersize=3, capsize=2, label=label)
    published = [(i, r) for i, name in enumerate(scenarios) for r in found.suite.published if r.scenario == name]
    if published:
        axes.plot([i for i, _ in published], [r.value for _, r in published], "k_", markersize=14, label="published")
    axes.set_xticks(range(len(scenarios)), [name.rpartition("/")[2] for name in scenarios], rotation=60, ha="right")
    axes.set_ylabel(next(iter(measures.values())).replace("_", " "))
    axes.set_ylim(0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figures.png(drawn)


def _curves(result: ArenaResult, found: Offered, scenarios: Sequence[str], measures: Mapping[str, str]) -> bytes:
    columns = min(3, len(scenarios))
    drawn = figures.figure(4.5 * columns, 3.5 * -(-len(scenarios) // columns))
    panels = drawn.subplots(-(-len(scenarios) // columns), columns, squeeze=False)
    for axes, scenario in zip(panels.flat, scenarios, strict=False):
        measure = measures[scenario]
        for who in dict.fromkeys(row["who"] for row in result.rows):
            rows = [r for r in result.rows if (r["who"], r["scenario"]) == (who, scenario) and r[measure]]
            rows.sort(key=lambda row: row["latency_ms"])
            x = [row["latency_ms"] for row in rows]
            axes.plot(x, [row[measure]["mean"] for row in rows], "o-", markersize=3, label=who)
            axes.fill_between(x, [r[measure]["low"] for r in rows], [r[measure]["high"] for r in rows], alpha=0.15)
        for name, value, _ in found.suite.human:
            if name == measure:
                axes.axhline(value, color="black", linestyle=":", label="people")
        axes.set_title(f"{scenario}: {measure.replace('_', ' ')}", fontsize=10)
        axes.set_xlabel("injected latency, ms")
        axes.set_ylim(0)
        axes.grid(alpha=0.3)
    for axes in list(panels.flat)[len(scenarios) :]:
        axes.set_axis_off()
    panels.flat[0].legend(fontsize=7)
    return figures.png(drawn)


def _like(who: str, reference: str) -> str:
    """Return the reference that plays with the same controller."""
    _, comma, name = who.partition(", ")
    return f"{reference}{comma}{name}"


def _resampled(group: Mapping[str, Sequence[float]], seed: int) -> tuple[float, np.ndarray]:
    rng = np.random.default_rng([seed, 29])
    total = np.zeros(RESAMPLES)
    for values in group.values():
        known = np.array(values)
        total += known[rng.integers(0, len(known), (RESAMPLES, len(known)))].mean(axis=1)
    return float(np.mean([np.mean(values) for values in group.values()])), total / len(group)


def _interval(value: float, resamples: np.ndarray) -> dict[str, float]:
    low, high = bounds(resamples)
    return {"mean": round(value, 3), "low": round(low, 3), "high": round(high, 3)}


def _best(suite: Suite) -> dict[tuple[str, str], tuple[str, float]]:
    best: dict[tuple[str, str], tuple[str, float]] = {}
    for result in suite.published:
        key = (result.scenario, result.measure)
        if key not in best or result.value > best[key][1]:
            best[key] = (result.who, result.value)
    return best
