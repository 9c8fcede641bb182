"""Several profiles, or one with several values of a setting, played on the same seeds and compared with the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.overrides import parse_overrides
from core.errors import UserError
from core.progress import Progress, silent
from core.text import to_csv
from evaluation import figures
from evaluation.arena import Score
from evaluation.compare import Difference, compare
from evaluation.tournament import ArenaConfig, ArenaResult, check, played

AGENT = "agent"


@dataclass(frozen=True)
class Contestant:
    """One that plays: what tables call it, and what is played."""

    name: str
    config: ArenaConfig


@dataclass(frozen=True)
class Contest:
    """What came of it.

    :param differences: of each contestant but the first against it, in their order.
    :param paired: whether episodes with the same seed were compared with each other.
    """

    names: tuple[str, ...]
    results: tuple[ArenaResult, ...]
    differences: tuple[list[Difference], ...]
    paired: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as docs/reports.md describes it."""
        return {
            "contestants": list(self.names),
            "paired": self.paired,
            "rows": [
                {"contestant": name, **row}
                for name, result in zip(self.names, self.results, strict=True)
                for row in result.rows
            ],
            "differences": [
                {"contestant": name, "against": self.names[0], "measures": [d.to_dict() for d in found]}
                for name, found in zip(self.names[1:], self.differences, strict=True)
            ],
            "episodes": self.episodes(),
        }

    def episodes(self) -> list[dict[str, Any]]:
        """Return every episode of all of them."""
        return [
            {"contestant": name, **episode}
            for name, result in zip(self.names, self.results, strict=True)
            for episode in result.episodes()
        ]

    def csv(self) -> str:
        """Return the episodes as CSV, a line each."""
        return to_csv(self.episodes())


def profiles(config: ArenaConfig, paths: Sequence[Path], unpaired: bool) -> list[Contestant]:
    """Return contestants that are profiles.

    :param unpaired: whether each has seeds of its own.
    :raises UserError: there are fewer than two.
    """
    if len(paths) < 2:
        raise UserError("--compare needs two profiles or more, as --compare A.yaml B.yaml")
    names = _unlike([path.stem for path in paths], paths)
    return [
        Contestant(name, replace(config, profile=path, seed=config.seed + (i * config.episodes if unpaired else 0)))
        for i, (name, path) in enumerate(zip(names, paths, strict=True))
    ]


def sweep(config: ArenaConfig, text: str) -> list[Contestant]:
    """Return contestants that are one profile with several values of a setting: `aim.smoothing=0,0.3,0.7`.

    :raises UserError: it is not written so, or there are fewer than two values.
    """
    key, equals, values = text.partition("=")
    listed = [value.strip() for value in values.split(",")]
    if not equals or not key.strip() or len(listed) < 2 or not all(listed):
        raise UserError(f'--sweep is "{text}"; write a setting and its values, as aim.smoothing=0,0.3,0.7')
    overrides = [f"{key.strip()}={value}" for value in listed]
    parse_overrides(overrides)
    return [Contestant(override, replace(config, overrides=(*config.overrides, override))) for override in overrides]


def play(contestants: Sequence[Contestant], unpaired: bool, progress: Progress = silent) -> Contest:
    """Play all contestants, and compare each with the first.

    Nothing is played before all of them have been checked. Games in windows are not the same again though their seeds
    are, so that their episodes are no pairs.

    :raises UserError: one of them cannot be played.
    """
    loaded = [check(contestant.config) for contestant in contestants]
    paired = not unpaired and all(one.profile.mode == "lock-step" for one in loaded)
    results = tuple(played(one, c.config, progress) for one, c in zip(loaded, contestants, strict=True))
    first, *others = (_agents(result) for result in results)
    differences = tuple(compare(first, other, paired) for other in others)
    return Contest(tuple(c.name for c in contestants), results, differences, paired)


def draw(contest: Contest, title: str) -> bytes:
    """Return the first two measures of every contestant with their intervals, PNG."""
    measures = contest.results[0].shown[:2]
    drawn = figures.figure(4.5 * len(measures), 4)
    drawn.suptitle(title)
    for axes, measure in zip(drawn.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        for place, result in enumerate(contest.results):
            row = next(row for row in result.rows if row["who"] == AGENT)
            value = row[measure]
            if value is not None:
                error = [[value["mean"] - value["low"]], [value["high"] - value["mean"]]]
                axes.errorbar([place], [value["mean"]], yerr=error, fmt="o", capsize=4)
        axes.set_xticks(range(len(contest.names)), contest.names, rotation=20, fontsize=8)
        axes.set_title(measure.replace("_", " "), fontsize=10)
        axes.set_ylim(0)
        axes.grid(alpha=0.3)
    return figures.png(drawn)


def _agents(result: ArenaResult) -> list[Score]:
    return [score for score in result.scores if score.who == AGENT]


def _unlike(names: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Return names that differ, by their folders where files are called alike, and by numbers where all is alike."""
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return [name if names.count(name) == 1 else f"{name} ({i + 1})" for i, name in enumerate(names)]
