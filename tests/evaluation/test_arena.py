import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent.profile import find_profile
from core.errors import UserError
from evaluation import contest, tournament
from evaluation.statistics import mean_interval as interval
from evaluation.tournament import ArenaConfig


def test_an_interval_holds_its_mean_and_narrows() -> None:
    few, many = interval([1.0, 2.0, 3.0]), interval([1.0, 2.0, 3.0] * 30)
    assert few is not None
    assert many is not None
    assert few["low"] < few["mean"] == 2.0 < few["high"]
    assert many["high"] - many["low"] < few["high"] - few["low"]
    assert interval([None]) is None
    assert interval([4.0, None]) == {"mean": 4.0, "low": 4.0, "high": 4.0}


def test_a_short_arena(agent, tmp_path: Path) -> None:
    options = (
        "--profile",
        "doom.yaml",
        "--scenario",
        "basic",
        "--episodes",
        "2",
        "--seed",
        "7",
        "--engine",
        "openvino",
        "--precision",
        "int8",
    )
    done = agent(
        "arena", *options, "--baselines", "oracle,random", "--json", "a.json", "--markdown", "a.md", "--out", "a.png",
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "a.json").read_text())
    kills = {row["who"]: row["kills"]["mean"] for row in found["rows"]}
    assert kills["agent"] == kills["oracle"] == 1, "the one monster there is"
    rows = {row["who"]: row for row in found["rows"]}
    assert rows["oracle"]["recall"]["mean"] == 1
    assert (tmp_path / "a.png").stat().st_size > 5000
    assert "| agent | basic | 2 |" in (tmp_path / "a.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--profile", "doom.yaml", "--scenario", "nowhere"), 'there is no Doom scenario "nowhere"'),
        (("--profile", "doom.yaml", "--baselines", "human"), 'there is no baseline "human"; known are: oracle, random'),
        (("--profile", "doom.yaml", "--latency-ms", "soon"), "give milliseconds"),
        (("--profile", "desktop.yaml"), "the arena plays in lock-step"),
        (("--profile", "doom.yaml", "--engine", "abacus"), 'there is no engine "abacus"'),
    ],
)
def test_bad_input(agent, arguments: tuple[str, ...], says: str) -> None:
    fast = () if "--engine" in arguments else ("--engine", "openvino", "--precision", "int8")
    done = agent("arena", "--episodes", "1", *arguments, *fast)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_what_is_not_there_is_refused_before_a_process_is_started(monkeypatch) -> None:
    def started(*arguments: object) -> None:
        raise AssertionError("episodes are being played")

    monkeypatch.setattr(tournament, "play_trials", started)
    config = ArenaConfig(find_profile("doom.yaml"), scenarios=("basic", "nowhere"), baselines=("random",))
    with pytest.raises(UserError, match='there is no Doom scenario "nowhere"'):
        tournament.arena(config)
    variants = {"one": (), "other": ("capture.scenario=nowhere",)}
    with pytest.raises(UserError, match='there is no Doom scenario "nowhere"'):
        tournament.arena(replace(config, scenarios=(), variants=variants))
    with pytest.raises(UserError, match='there is no Doom scenario "nowhere"'):
        contest.play(contest.sweep(replace(config, scenarios=()), "capture.scenario=basic,nowhere"), unpaired=False)
    with pytest.raises(UserError, match="there is no bundle models/nobody"):
        contest.play(
            contest.sweep(replace(config, scenarios=()), "detector.model=doom-yolov4-tiny,nobody"), unpaired=False
        )
