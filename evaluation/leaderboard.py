"""A leaderboard: a file with the raw episodes of each entry, from which every mean is reckoned anew.

So a figure on it cannot differ from the episodes that it stands for, and anyone can add a row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import UserError
from core.files import write_atomically
from core.text import read_text, to_json
from evaluation.statistics import described, mean_interval
from evaluation.suites import Offered
from evaluation.tournament import ArenaResult

FORMAT = 1


class EpisodeRow(BaseModel):
    """One episode: what was played, and its scores by measure; null where there is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scenario: str
    seed: int
    variant: str = ""
    latency_ms: float = 0.0
    scores: dict[str, float | None]


class Entry(BaseModel):
    """One row: who plays, on what, by which figures it is ranked, and its episodes.

    `main` gives of each scenario the measure that it is about; `lower` the measures of which less is better.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    benchmark: str = Field(min_length=1, max_length=80)
    main: dict[str, str]
    lower: tuple[str, ...] = ()
    provenance: dict[str, Any]
    episodes: tuple[EpisodeRow, ...] = Field(min_length=1)


class Board(BaseModel):
    """The file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    entries: tuple[Entry, ...] = ()


def read(path: Path) -> Board:
    """Read a leaderboard.

    :raises UserError: it cannot be read, or is none; the message names the entry.
    """
    try:
        data = json.loads(read_text(path, "the leaderboard"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: this is no JSON: {error.msg}") from error
    if isinstance(data, dict) and data.get("format", FORMAT) != FORMAT:
        raise UserError(f"{path}: its format is {data['format']}, and this version reads {FORMAT}")
    try:
        return Board.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {where or 'the file'}: {first['msg'].lower()}") from error


def add(path: Path, entries: Sequence[Entry]) -> None:
    """Add entries to a leaderboard, which is made where there is none; one of the same name and benchmark is replaced.

    :raises UserError: it cannot be read or written.
    """
    board = read(path) if path.exists() else Board()
    names = {(entry.benchmark, entry.name) for entry in entries}
    others = tuple(entry for entry in board.entries if (entry.benchmark, entry.name) not in names)
    write_atomically(path, to_json(Board(entries=(*others, *entries)).model_dump(mode="json")))


def entries(name: str, result: ArenaResult, found: Offered | None, provenance: Mapping[str, Any]) -> list[Entry]:
    """Return the entries that an arena makes: the agent's, one a controller where there are several.

    :param found: the suite that was played; without one the benchmark is called by the profile.
    """
    main = {row["scenario"]: result.shown[0] for row in result.rows} if found is None else dict(found.suite.scenarios)
    benchmark = result.profile.stem if found is None else found.name
    lower = sorted(result.scores[0].lower)
    episodes: dict[str, list[EpisodeRow]] = {}
    for trial, score in zip(result.trials, result.scores, strict=True):
        if score.who == "agent":
            row = EpisodeRow(
                scenario=score.scenario,
                seed=score.seed,
                variant=trial.variant,
                latency_ms=trial.disturbance.latency_ms,
                scores=score.measures,
            )
            episodes.setdefault(trial.player.name.removeprefix("agent").lstrip(", "), []).append(row)
    several = len(episodes) > 1
    return [
        Entry(
            name=f"{name}, {player}" if several and player else name,
            benchmark=benchmark,
            main=main,
            lower=tuple(lower),
            provenance=dict(provenance),
            episodes=tuple(rows),
        )
        for player, rows in episodes.items()
    ]


@dataclass(frozen=True)
class Standing:
    """A row of the table: a mean over the episodes of one entry.

    :param scenario: all of them, where they are about the same measure.
    """

    benchmark: str
    variant: str
    latency_ms: float
    scenario: str
    measure: str
    name: str
    episodes: int
    value: dict[str, float]
    lower_is_better: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "benchmark": self.benchmark,
            "variant": self.variant,
            "latency_ms": self.latency_ms,
            "scenario": self.scenario,
            "measure": self.measure,
            "name": self.name,
            "episodes": self.episodes,
            **self.value,
        }


def standings(board: Board, by_scenario: bool) -> list[Standing]:
    """Return the table, the best first within each benchmark, reckoned from the episodes.

    :param by_scenario: a row each; otherwise those that are about the same measure are one.
    """
    groups: dict[tuple[str, str, float, str, str, str], list[float]] = {}
    lower: dict[str, bool] = {}
    for entry in board.entries:
        for episode in entry.episodes:
            measure = entry.main.get(episode.scenario)
            value = None if measure is None else episode.scores.get(measure)
            if measure is None or value is None:
                continue
            lower[measure] = measure in entry.lower
            scenario = episode.scenario if by_scenario else ""
            key = (entry.benchmark, episode.variant, episode.latency_ms, scenario, measure, entry.name)
            groups.setdefault(key, []).append(value)
    rows = []
    for (benchmark, variant, latency, scenario, measure, name), values in groups.items():
        interval = mean_interval(values)
        assert interval is not None
        rows.append(
            Standing(benchmark, variant, latency, scenario, measure, name, len(values), interval, lower[measure])
        )
    order = {key[:5]: place for place, key in enumerate(dict.fromkeys(key[:5] for key in groups))}
    return sorted(
        rows,
        key=lambda row: (
            order[row.benchmark, row.variant, row.latency_ms, row.scenario, row.measure],
            row.value["mean"] * (1 if row.lower_is_better else -1),
        ),
    )


def heads_and_lines(rows: Sequence[Standing]) -> tuple[list[str], list[list[str]]]:
    """Return the table as texts; columns that say the same all over are left out."""
    fixed = {
        "benchmark": [row.benchmark for row in rows],
        "variant": [row.variant for row in rows],
        "latency ms": [f"{row.latency_ms:g}" for row in rows],
        "scenario": [row.scenario for row in rows],
    }
    shown = {head: values for head, values in fixed.items() if head == "benchmark" or len(set(values)) > 1}
    heads = [*shown, "measure", "name", "episodes", "mean"]
    lines = [
        [
            *(values[i] for values in shown.values()),
            row.measure.replace("_", " "),
            row.name,
            str(row.episodes),
            described(row.value),
        ]
        for i, row in enumerate(rows)
    ]
    return heads, lines
