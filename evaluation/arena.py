"""The arena: a profile's game played many times, scored, beside the ground truth and chance, with intervals.

Each episode is a run of its own in a process of its own: the profile's, with another seed, scenario, detector or delay.
"""

from __future__ import annotations

import concurrent.futures
import io
import math
import multiprocessing
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.errors import UserError
from agent.hookspecs import Context
from agent.loop import Parts
from agent.profile import Choice, LoadedProfile, choose, load_profile
from agent.roles import Detector, Environment
from agent.session import Options, play
from agent.types import LEFT, Action, Detections, Frame, Target
from evaluation.accuracy import overlaps
from evaluation.aiming import Overshoot

RESAMPLES = 2000
TIC_S = 1 / 35
"""Seconds of one step of the game; in lock-step a frame is a step."""
SHOWN = ("kills", "hits_per_shot", "first_hit_ms", "aim_error_px", "overshoot_deg", "recall", "precision")
"""What the tables show of an episode's score."""
MEASURES = (*SHOWN, "shots", "aim_error_p95_px")
ON_TARGET = 0.5
"""IoU at which a detection counts as one of the truth."""


Focal = Callable[[float], float]
"""From a frame's width to the distance of its plane from the eye, both in pixels."""


@dataclass(frozen=True)
class Trial:
    """One episode to be played.

    :param who: `agent` (the profile's detector), `oracle` (the ground truth) or `random`.
    :param settings: of the detector, over the profile's.
    """

    profile: Path
    plugins: tuple[Path, ...]
    who: str
    scenario: str | None
    seed: int
    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    drop: float = 0.0
    noise_px: float = 0.0
    settings: tuple[tuple[str, Any], ...] = ()
    name: str = ""
    """What tables call the player; `who` by default."""


@dataclass(frozen=True)
class Score:
    """How an episode went. None where there is nothing to divide by."""

    who: str
    scenario: str
    seed: int
    kills: int
    shots: int
    tics: int
    hits_per_shot: float | None
    first_hit_ms: float | None
    aim_error_px: float | None
    aim_error_p95_px: float | None
    overshoot_deg: float | None
    recall: float | None
    precision: float | None


@dataclass
class _Tally:
    errors: list[float] = field(default_factory=list)
    overshoot: Overshoot = field(default_factory=Overshoot)
    truths: int = 0
    found: int = 0
    detections: int = 0
    right: int = 0


class _Spoiled:
    """A detector whose answers come late, or not at all, or beside the target; and who keeps the score of them.

    Late means that the loop gets the answer to an older frame; it is what a slow network or wire does.
    """

    def __init__(
        self,
        detector: Detector,
        world: Environment,
        trial: Trial,
        tally: _Tally,
        focal: Callable[[float], float] | None,
    ) -> None:
        self._focal = focal
        self.names = detector.names
        self._detect = detector.detect
        self._world = world
        self._trial = trial
        self._tally = tally
        self._rng = np.random.default_rng([trial.seed, 17])
        self._late: list[Detections] = []
        self._lag, self._jitter = steps(trial.latency_ms), steps(trial.jitter_ms)
        self._episode = -1

    def detect(self, frame: Frame) -> Detections:
        """Return what the loop is to act on."""
        if frame.episode != self._episode:
            self._episode, self._late = frame.episode, []
        truth = self._world.truth(frame)
        seen = self._detect(frame)
        _compare(seen, truth, self._tally)
        self._aim(frame, truth)
        trial = self._trial
        if trial.drop and self._rng.random() < trial.drop:
            seen = Detections.empty()
        elif trial.noise_px and len(seen):
            shift = self._rng.normal(0, trial.noise_px, (len(seen), 2)).astype(np.float32)
            seen = Detections(seen.xyxy + np.concatenate((shift, shift), axis=1), seen.confidence, seen.class_id)
        self._late.append(replace(seen, at_ns=frame.at_ns))
        lag = self._lag
        if self._jitter:
            lag += int(self._rng.integers(0, self._jitter + 1))
        del self._late[: -(self._lag + self._jitter + 1)]
        return self._late[-1 - lag] if len(self._late) > lag else Detections.empty()

    def _aim(self, frame: Frame, truth: Detections) -> None:
        tally = self._tally
        if not len(truth):
            tally.overshoot.add(None)
            return
        centres = (truth.xyxy[:, 0] + truth.xyxy[:, 2]) / 2 - frame.width / 2
        error = float(centres[np.argmin(np.abs(centres))])
        tally.errors.append(abs(error))
        if self._focal is not None:
            tally.overshoot.add(math.degrees(math.atan(error / self._focal(frame.width))))


def _compare(seen: Detections, truth: Detections, tally: _Tally) -> None:
    tally.truths += len(truth)
    tally.detections += len(seen)
    if not len(truth) or not len(seen):
        return
    overlap = overlaps(seen.xyxy, truth.xyxy)
    tally.found += int((overlap.max(axis=0) >= ON_TARGET).sum())
    tally.right += int((overlap.max(axis=1) >= ON_TARGET).sum())


class RandomHand:
    """A hand that turns and fires by chance: what any score must be measured against."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 5])

    def act(self, target: Target | None, frame: Frame) -> Action:
        """Return some action."""
        del target, frame
        return Action(int(self._rng.integers(-60, 61)), 0, LEFT if self._rng.random() < 0.5 else 0)

    def vetoed(self) -> None:
        """Go on all the same."""


def run_trial(trial: Trial) -> Score:
    """Play one episode.

    :raises UserError: the profile cannot be run, or its capture knows no truth.
    """
    loaded = _loaded(trial)
    tally = _Tally()

    def spoil(parts: Parts, context: Context) -> Parts:
        world = context.environment
        if world is None:
            raise UserError(
                f"{trial.profile}: the arena needs a capture that knows the truth and takes actions, such as doom's"
            )
        focal = loaded.profile.aim.focal_px if loaded.profile.aim.fov_deg is not None else None
        parts = replace(parts, detector=_Spoiled(parts.detector, world, trial, tally, focal))
        return replace(parts, controller=RandomHand(trial.seed)) if trial.who == "random" else parts

    result = play(loaded, Options(episodes=1, seed=trial.seed), change=spoil)
    if result.error is not None:
        raise result.error
    if not result.episodes:
        raise UserError(f"{trial.profile}: no episode was played to its end ({result.ended})")
    episode = result.episodes[0]
    errors = np.array(tally.errors)
    return Score(
        trial.who,
        episode.scenario,
        trial.seed,
        episode.kills,
        episode.shots,
        episode.tics,
        min(1.0, episode.hits / episode.shots) if episode.shots else None,
        None if episode.first_hit_tic is None else round(episode.first_hit_tic * TIC_S * 1e3, 1),
        float(errors.mean()) if len(errors) else None,
        float(np.percentile(errors, 95)) if len(errors) else None,
        float(np.mean(tally.overshoot.values)) if tally.overshoot.values else None,
        tally.found / tally.truths if tally.truths else None,
        tally.right / tally.detections if tally.detections else None,
    )


def _loaded(trial: Trial) -> LoadedProfile:
    loaded = load_profile(trial.profile, list(trial.plugins))
    if trial.scenario is not None:
        loaded = replace(loaded, capture=changed(loaded, loaded.capture, "--scenario", scenario=trial.scenario))
    if trial.who == "agent":
        detector = changed(loaded, loaded.detector, "arena", **dict(trial.settings))
    else:
        detector = choose(loaded.catalogue, loaded.catalogue.offers["detector"]["oracle"].maker, "arena")
    return replace(loaded, detector=detector)


def changed(loaded: LoadedProfile, choice: Choice, where: str, **changes: Any) -> Choice:
    """Return a role's plugin with some of its settings changed.

    :raises UserError: it has no such setting, or not with that value.
    """
    kept = choice.settings.model_dump(exclude_unset=True)
    return choose(loaded.catalogue, choice.maker, where, **{**kept, **changes})


def arena(trials: Sequence[Trial], processes: int | None, done: Callable[[], None]) -> list[Score]:
    """Play trials in parallel processes; the scores come in the order of the trials, whatever their number.

    :raises UserError: one of them cannot be played.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes or os.cpu_count(), mp_context=context) as pool:
        futures = [pool.submit(run_trial, trial) for trial in trials]
        for future in futures:
            future.add_done_callback(lambda _: done())
        try:
            return [future.result() for future in futures]
        except concurrent.futures.process.BrokenProcessPool as error:
            raise UserError("an episode ended its process; run it alone to see why (--episodes 1)") from error
        finally:
            pool.shutdown(cancel_futures=True)


def rows(trials: Sequence[Trial], scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Return a row a delay, player and scenario: means with 95 % intervals by the bootstrap over episodes."""
    groups: dict[tuple[float, str, str], list[Score]] = {}
    for trial, score in zip(trials, scores, strict=True):
        groups.setdefault((trial.latency_ms, trial.name or score.who, score.scenario), []).append(score)
    return [
        {"who": who, "scenario": scenario, "episodes": len(mine), "latency_ms": delay}
        | {key: interval([getattr(score, key) for score in mine]) for key in MEASURES}
        for (delay, who, scenario), mine in sorted(groups.items(), key=lambda item: item[0][0])
    ]


def steps(ms: float) -> int:
    """Return the frames that a delay comes to: in lock-step a frame is a step of the game."""
    return round(ms / 1e3 / TIC_S)


def interval(values: Sequence[float | None], seed: int = 0) -> dict[str, float] | None:
    """Return mean, low and high; None when there are no values."""
    known = np.array([v for v in values if v is not None], np.float64)
    if not len(known):
        return None
    picks = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
    low, high = np.percentile(known[picks].mean(axis=1), (2.5, 97.5))
    return {"mean": round(float(known.mean()), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def markdown(table: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [[row["who"], row["scenario"], str(row["episodes"]), *(said(row[key]) for key in SHOWN)] for row in table]
    return markdown_table(["who", "scenario", "episodes", *SHOWN], lines)


def markdown_table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table of texts as Markdown."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows]) + "\n"


def said(value: dict[str, float] | None) -> str:
    """Return an interval in a few words."""
    if value is None:
        return "-"
    digits = 1 if value["mean"] >= 10 else 2
    return f"{value['mean']:.{digits}f} ({value['low']:.{digits}f} to {value['high']:.{digits}f})"


def draw(table: Sequence[dict[str, Any]], x: Sequence[float], title: str) -> bytes:
    """Return kills and aim error of each player against `x` (injected latency, ms), PNG.

    :param table: the rows of one scenario, those of each player in the order of `x`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    figure.suptitle(title)
    for axes, key in zip(figure.subplots(1, 2), ("kills", "aim_error_px"), strict=True):
        for who in dict.fromkeys(row["who"] for row in table):
            mine = [row[key] or {"mean": np.nan, "low": np.nan, "high": np.nan} for row in table if row["who"] == who]
            means = [value["mean"] for value in mine]
            axes.plot(x[: len(mine)], means, "o-", label=who)
            axes.fill_between(x[: len(mine)], [v["low"] for v in mine], [v["high"] for v in mine], alpha=0.2)
        axes.set_xlabel("injected latency, ms")
        axes.set_ylabel(key.replace("_px", ", px").replace("_", " "))
        axes.set_ylim(0)
        axes.grid(alpha=0.3)
        axes.legend()
    return png(figure)


def png(figure: Any) -> bytes:
    """Return a figure of matplotlib's as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110)
    return stream.getvalue()
