"""The leaderboard: every mean follows from the episodes in the file."""

import json
from pathlib import Path

import pytest

from core.errors import UserError
from evaluation.leaderboard import Entry, EpisodeRow, add, read, standings


def entry(name: str, kills: list[float], errors: list[float] | None = None) -> Entry:
    errors = errors or [1.0] * len(kills)
    return Entry(
        name=name,
        benchmark="doom",
        main={"center": "kills", "aim": "error"},
        lower=("error",),
        provenance={"version": "1"},
        episodes=tuple(
            EpisodeRow(scenario=scenario, seed=i, scores={"kills": k, "error": e})
            for scenario in ("center", "aim")
            for i, (k, e) in enumerate(zip(kills, errors, strict=True))
        ),
    )


def test_rows_are_ranked_by_means_that_are_reckoned_from_the_episodes(tmp_path: Path) -> None:
    board = tmp_path / "b.json"
    add(board, [entry("low", [1, 2, 3], [5, 6, 7])])
    add(board, [entry("high", [10, 12, 14], [1, 2, 3])])
    rows = [(row.measure, row.name, row.value["mean"]) for row in standings(read(board), by_scenario=False)]
    assert rows == [("kills", "high", 12), ("kills", "low", 2), ("error", "high", 2), ("error", "low", 6)]
    data = json.loads(board.read_text())
    data["entries"][0]["episodes"][0]["scores"]["kills"] = 100.0
    board.write_text(json.dumps(data))
    assert standings(read(board), by_scenario=False)[0].name == "low", "a mean follows from what stands in the file"


def test_an_entry_of_the_same_name_is_replaced_and_others_stay(tmp_path: Path) -> None:
    board = tmp_path / "b.json"
    add(board, [entry("a", [1.0]), entry("b", [2.0])])
    add(board, [entry("a", [5.0])])
    assert {e.name: e.episodes[0].scores["kills"] for e in read(board).entries} == {"a": 5.0, "b": 2.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "this is no JSON"),
        ("[]", "the file: input should be a valid"),
        ('{"format": 9, "entries": []}', "its format is 9, and this version reads 1"),
        ('{"entries": [{"name": "x"}]}', "entries.0.benchmark: field required"),
        (
            '{"entries": [{"name": "x", "benchmark": "d", "main": {}, "provenance": {}, "episodes": []}]}',
            "entries.0.episodes",
        ),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    board = tmp_path / "b.json"
    board.write_text(text)
    with pytest.raises(UserError, match=says):
        read(board)
