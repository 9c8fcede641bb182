"""The arena: a profile's game played many times, scored, beside the ground truth and chance, with intervals.

Each episode is a run of its own in a process of its own: the profile's, with another seed, scenario, detector or delay.
What a game is scored by is declared by its environment; the arena adds what it can tell of any: aim error, overshoot,
recall and precision.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.context import Context
from agent.loop import ActiveRoles
from agent.plan import Options
from agent.profile import LoadedProfile, choose, load_profile
from agent.session import play
from agent.types import LEFT, Action, Frame, Measure, Target
from core.errors import UserError
from core.workers import workers
from evaluation import figures
from evaluation.controllers import chosen
from evaluation.scoring import NO_DISTURBANCE, Disturbance, Observed, ScoredDetector
from evaluation.statistics import described, mean_interval

OWN = ("aim_error_px", "overshoot_deg", "recall", "precision")
"""What the tables show of what the arena itself measures."""
LOWER = frozenset({"aim_error_px", "aim_error_p95_px", "overshoot_deg"})
"""Those of them of which less is better."""


@dataclass(frozen=True)
class Player:
    """Who plays.

    :param who: `agent` (the profile's detector), `oracle` (the ground truth) or `random`.
    :param settings: of the detector, over the profile's.
    :param controller: its name, in place of the profile's.
    """

    who: str
    settings: tuple[tuple[str, Any], ...] = ()
    controller: str | None = None
    name: str = ""
    """What tables call the player; `who` by default."""


@dataclass(frozen=True)
class Trial:
    """One episode to be played.

    :param overrides: of the profile, as `--set` takes them.
    :param variant: what tables call them, where scenarios are played in several ways.
    """

    profile: Path
    plugins: tuple[Path, ...]
    player: Player
    scenario: str | None
    seed: int
    disturbance: Disturbance = NO_DISTURBANCE
    overrides: tuple[str, ...] = ()
    variant: str = ""

    @property
    def who(self) -> str:
        """Who plays."""
        return self.player.who


@dataclass(frozen=True)
class Score:
    """How an episode went.

    :param measures: by name, the environment's first; None where there is nothing to count or divide by.
    :param shown: the measures that tables show.
    :param detector: what the detector says that it ran.
    """

    who: str
    scenario: str
    seed: int
    measures: dict[str, float | None]
    shown: tuple[str, ...]
    detector: dict[str, Any] = field(default_factory=dict)
    lower: frozenset[str] = LOWER
    """The measures of which less is better."""

    def to_dict(self) -> dict[str, Any]:
        """Return the episode as docs/reports.md describes it."""
        return {"who": self.who, "scenario": self.scenario, "seed": self.seed, **self.measures}


class RandomController:
    """A hand that turns and fires by chance: what any score must be measured against."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 5])

    def decide(self, target: Target | None, frame: Frame) -> Action:
        """Return some action."""
        return Action(int(self._rng.integers(-60, 61)), 0, LEFT if self._rng.random() < 0.5 else 0)

    def sent(self, action: Action, frame: Frame) -> None:
        """Go on all the same."""


def run_trial(trial: Trial) -> Score:
    """Play one episode.

    :raises UserError: the profile cannot be run, or its capture knows no truth.
    """
    loaded = _loaded(trial)
    observed = Observed()

    def score(roles: ActiveRoles, context: Context) -> ActiveRoles:
        world = context.environment
        if world is None:
            raise UserError(
                f"{trial.profile}: the arena needs a capture that knows the truth and takes actions, such as doom's"
            )
        calibration = context.calibration
        focal = calibration.focal_px if calibration.fov_deg is not None else None
        detector = ScoredDetector(roles.detector, world, trial.disturbance, trial.seed, observed, focal)
        roles = replace(roles, detector=detector)
        return replace(roles, controller=RandomController(trial.seed)) if trial.who == "random" else roles

    result = play(loaded, Options(episodes=1, seed=trial.seed), middleware=[score])
    if result.error is not None:
        raise result.error
    if not result.episodes:
        raise UserError(f"{trial.profile}: no episode was played to its end ({result.ended})")
    episode = result.episodes[0]
    shown = tuple(measure.name for measure in result.measures if measure.in_arena)
    measures = {measure.name: episode.scores.get(measure.name) for measure in result.measures}
    return Score(
        trial.who,
        episode.scenario,
        trial.seed,
        {**measures, **observed.measures()},
        (*shown, *OWN),
        result.detector,
        lower_is_better(result.measures),
    )


def lower_is_better(measures: Sequence[Measure]) -> frozenset[str]:
    """Return of which measures less is better, the arena's own included."""
    return LOWER | {measure.name for measure in measures if measure.lower_is_better}


def _loaded(trial: Trial) -> LoadedProfile:
    loaded = load_profile(trial.profile, list(trial.plugins), trial.overrides)
    player = trial.player
    if trial.scenario is not None:
        loaded = loaded.with_roles(capture=loaded.with_settings("capture", scenario=trial.scenario))
    if player.controller is not None:
        offers = loaded.catalogue.offers["controller"]
        factories = {name: offer.factory for name, offer in offers.items()}
        loaded = loaded.with_roles(controller=chosen(player.controller, loaded.roles.controller, factories))
    if player.who == "agent":
        detector = loaded.with_settings("detector", **dict(player.settings))
    else:
        detector = choose(loaded.catalogue.find("detector", "oracle"), "arena")
    return loaded.with_roles(detector=detector)


def play_trials(trials: Sequence[Trial], processes: int | None, done: Callable[[], None]) -> list[Score]:
    """Play trials in parallel processes; the scores come in the order of the trials, whatever their number.

    :raises UserError: one of them cannot be played.
    """
    try:
        with workers(len(trials), processes) as pool:
            futures = [pool.submit(run_trial, trial) for trial in trials]
            for future in concurrent.futures.as_completed(futures):
                future.result()  # the first that failed ends it all
                done()
            return [future.result() for future in futures]
    except concurrent.futures.process.BrokenProcessPool as error:
        raise UserError("an episode ended its process; run it alone to see why (--episodes 1)") from error


def rows(trials: Sequence[Trial], scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return a row a delay, player and scenario: means with 95 % intervals by the bootstrap over episodes."""
    groups: dict[tuple[float, str, str, str], list[Score]] = {}
    for trial, score in zip(trials, scores, strict=True):
        key = (trial.disturbance.latency_ms, trial.player.name or score.who, score.scenario, trial.variant)
        groups.setdefault(key, []).append(score)
    return [
        {"who": who, "scenario": scenario, "episodes": len(group), "latency_ms": delay}
        | ({"variant": variant} if variant else {})
        | {name: mean_interval([score.measures[name] for score in group]) for name in group[0].measures}
        for (delay, who, scenario, variant), group in sorted(groups.items(), key=lambda item: item[0][0])
    ]


def heads_and_lines(
    table: Sequence[dict[str, Any]], shown: Sequence[str], with_delay: bool
) -> tuple[list[str], list[list[str]]]:
    """Return the table of the rows as texts: its heads, and its lines."""
    fixed = ["who", "scenario", "episodes", *(["latency_ms"] if with_delay else [])]
    lines = [
        [*(f"{row[key]:g}" if key == "latency_ms" else str(row[key]) for key in fixed)]
        + [described(row[key]) for key in shown]
        for row in table
    ]
    return [head.replace("_", " ") for head in (*fixed, *shown)], lines


def draw(table: Sequence[dict[str, Any]], x: Sequence[float], measure: str, title: str) -> bytes:
    """Return a measure and the aim error of each player against `x` (injected latency, ms), PNG.

    :param table: the rows of one scenario, those of each player in the order of `x`.
    """
    drawn = figures.figure(9, 4)
    drawn.suptitle(title)
    for axes, key in zip(drawn.subplots(1, 2), (measure, "aim_error_px"), strict=True):
        for who in dict.fromkeys(row["who"] for row in table):
            values = [row[key] or {"mean": np.nan, "low": np.nan, "high": np.nan} for row in table if row["who"] == who]
            means = [value["mean"] for value in values]
            axes.plot(x[: len(values)], means, "o-", label=who)
            axes.fill_between(x[: len(values)], [v["low"] for v in values], [v["high"] for v in values], alpha=0.2)
        axes.set_xlabel("injected latency, ms")
        axes.set_ylabel(key.replace("_px", ", px").replace("_", " "))
        axes.set_ylim(0)
        axes.grid(alpha=0.3)
        axes.legend()
    return figures.png(drawn)
