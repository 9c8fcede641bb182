"""Suites, comparisons and sweeps by the command line; and a stranger's detector and controller on the board."""

import json
from pathlib import Path

import cv2
import pytest

from agent.profile import load_profile
from evaluation import suites
from tests.conftest import FIXED, ROOT

ORACLE = ("--set", "detector={plugin: oracle}")
QUICK = ("--episodes", "1", "--set", "capture.seconds=3", "--set", "capture.flicks=12")

STRANGERS = """
from reticle import Action, Controller, ControllerFactory, DetectorFactory, Detections, PluginSettings, hookimpl, LEFT

class Blind:
    names = ("monster", "player")
    def __init__(self, settings, context):
        pass
    def detect(self, frame):
        return Detections.empty()
    def describe(self):
        return {"engine": "none", "threshold": 0.5}

class Straight:
    def __init__(self, settings, context):
        self.calibration = context.calibration
    def decide(self, target, frame):
        if target is None:
            return Action(0, 0)
        per_px = 1 / self.calibration.focal_px(frame.width) * 57.3 / self.calibration.per_count[0]
        return Action(round(target.error_x * per_px), round(target.error_y * per_px), LEFT if abs(target.error_x) < 3 else 0)
    def sent(self, action, frame):
        pass

@hookimpl
def reticle_detector():
    return DetectorFactory("blind", Blind)

@hookimpl
def reticle_controller():
    return ControllerFactory("straight", Straight)
"""


def test_every_suite_is_complete() -> None:
    found = suites.offered(load_profile(ROOT / "profiles" / "doom.yaml"))
    assert set(found) == {"levdoom", "tasks"}
    levels = found["levdoom"].suite.scenarios
    assert len(levels) == 17
    for result in found["levdoom"].suite.published:
        assert result.scenario in levels


def test_tasks_a_strangers_plugins_the_leaderboard_and_the_page(agent, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(STRANGERS)
    scenarios = ("--scenario", "flick,strafe")
    done = agent(
        "arena", "--suite", "tasks", *QUICK, *scenarios, *ORACLE, "--controllers", "predictive,proportional",
        "--latency-ms", "0,100", "--json", "t.json", "--csv", "t.csv", "--out", "t.png", "--markdown", "t.md",
        "--leaderboard", "b.json", "--name", "ours",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "t.json").read_text())
    rows = {(r["scenario"], r["who"], r["latency_ms"]): r for r in data["rows"]}
    assert len(rows) == 2 * 4 * 2
    late = {
        who: rows["strafe", f"agent, {who}", 100.0]["time_on_target"]["mean"] for who in ("predictive", "proportional")
    }
    assert late["predictive"] > late["proportional"] + 0.2
    assert data["human"][0]["measure"] == "throughput_bit_s"
    assert cv2.imread(str(tmp_path / "t.png")) is not None
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 1 + len(data["episodes"])
    theirs = ("--plugin", tmp_path / "theirs.py", "--leaderboard", "b.json")
    one = ("--suite", "tasks", *QUICK, "--scenario", "flick", "--latency-ms", "0")
    for name, own in (
        ("their controller", (*ORACLE, "--controllers", "straight")),
        ("their detector", ("--set", "detector={plugin: blind}", "--controllers", "predictive")),
    ):
        done = agent("arena", *one, *theirs, "--name", name, *own)
        assert done.returncode == 0, done.stderr
    done = agent("leaderboard", "b.json", "--json", "l.json")
    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "l.json").read_text())["rows"]
    flicks = [row["name"] for row in table if row["measure"] == "throughput_bit_s" and row["latency_ms"] == 0]
    assert set(flicks) == {"ours, predictive", "ours, proportional", "their controller"}, "a blind one shoots nothing"
    hits = json.loads((tmp_path / "b.json").read_text())["entries"]
    assert {entry["name"] for entry in hits} == {
        "ours, predictive",
        "ours, proportional",
        "their controller",
        "their detector",
    }
    done = agent("report", "t.json", "--out", "p.html")
    assert done.returncode == 0, done.stderr
    assert "Suite: tasks" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize("level", ["flying_enemies", "fuzzy_enemies_gore", "seek_and_slay/red"])
def test_levels_of_levdoom_are_played(agent, tmp_path: Path, level: str) -> None:
    done = agent(
        "arena", "--scenario", f"levdoom/{level}", "--episodes", "1", *ORACLE, "--set", "capture.limit_s=8",
        "--set", "capture.autoaim=false", "--set", "aim.vertical=true", "--json", "a.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert row["scenario"] == f"levdoom/{level}"
    assert row["recall"]["mean"] == 1


def test_a_suite_tables_levels_beside_what_is_published(agent, tmp_path: Path) -> None:
    done = agent(
        "arena", "--suite", "levdoom", "--scenario", "levdoom/default,levdoom/complete", "--episodes", "2", *ORACLE,
        "--set", "capture.limit_s=6", "--json", "a.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "10.9 DTQN" in done.stdout
    data = json.loads((tmp_path / "a.json").read_text())
    assert {row["variant"] for row in data["rows"]} == {"autoaim", "no autoaim"}
    means = {(row["who"], row["variant"]): row for row in data["means"]}
    assert means["agent", "autoaim"]["share_of_reference"]["mean"] == pytest.approx(1, abs=0.01)
    assert means["random", "autoaim"]["mean"]["mean"] <= means["oracle", "autoaim"]["mean"]["mean"]


@pytest.mark.parametrize("scenario", ["defend_the_center", "players"])
def test_endless_episodes_last_their_time_and_count_by_the_minute(agent, tmp_path: Path, scenario: str) -> None:
    done = agent(
        "arena", "--scenario", scenario, "--episodes", "1", "--baselines", "random", *ORACLE, "--json", "a.json",
        "--set", "capture.endless=true", "--set", "capture.limit_s=30",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "a.json").read_text())
    for episode in data["episodes"]:
        assert 1040 <= episode["tics"] <= 1066
    good, chance = (next(r for r in data["rows"] if r["who"] == who) for who in ("agent", "random"))
    assert good["kills_per_minute"]["mean"] > (10 if scenario == "defend_the_center" else 1), "players take ten hits"
    assert good["hits_per_shot"]["mean"] > 0.7
    assert good["kills_per_minute"]["mean"] > chance["kills_per_minute"]["mean"]
    assert 100 < good["time_to_kill_ms"]["mean"] < 20_000


def test_an_episode_with_bots_is_its_seeds_whatever_was_played_before(agent, tmp_path: Path) -> None:
    settings = ("scenario=players", "endless=true", "limit_s=12")
    options = (*ORACLE, *(part for setting in settings for part in ("--set", f"capture.{setting}")))
    played = {}
    for name, seed, episodes in (("two", 31, 2), ("second", 32, 1)):
        done = agent("--profile", "doom.yaml", *options, "--seed", seed, "--episodes", episodes, "--report", name)
        assert done.returncode == 0, done.stderr
        played[name] = json.loads((tmp_path / name).read_text())["episodes"]
        for episode in played[name]:
            del episode["decisions"]  # its digest has the number of each frame in the run
    assert played["two"][1] == played["second"][0]
    assert played["two"][1]["hits"] > 3


def test_profiles_and_values_of_a_setting_are_compared(agent, tmp_path: Path) -> None:
    profile = (ROOT / "profiles" / "doom.yaml").read_text()
    for name, gain in (("a", 0.05), ("b", 0.6)):
        (tmp_path / f"{name}.yaml").write_text(profile.replace("gain: 0.6", f"gain: {gain}"))
    one = ("--episodes", "10", *ORACLE, "--set", "capture.limit_s=5")
    done = agent("arena", "--compare", "a.yaml", "b.yaml", *one, "--json", "c.json", "--out", "c.png")
    assert done.returncode == 0, done.stderr
    assert "b against a, 10 episodes each: better in" in done.stdout
    data = json.loads((tmp_path / "c.json").read_text())
    verdicts = {d["measure"]: d["verdict"] for d in data["differences"][0]["measures"]}
    assert "better" in verdicts.values()
    assert "worse" not in verdicts.values()
    done = agent("arena", "--sweep", "aim.smoothing=0.7,0.7", *one[2:], "--episodes", "2", "--csv", "s.csv")
    assert done.returncode == 0, done.stderr
    assert "differ by no more than chance" in done.stdout
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 5
    done = agent("report", "c.json", "--out", "p.html")
    assert "Comparison: a, b" in (tmp_path / "p.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--suite", "eyes"), 'is "eyes"; known are: aim, '),
        (("--compare", "doom.yaml"), "needs two profiles or more"),
        (("doom.yaml",), "give a profile as --profile doom.yaml"),
        (("--sweep", "aim.gain"), "write a setting and its values"),
        (("--sweep", "aim.gain=1"), "write a setting and its values"),
        (("--sweep", "aim.gain=0.1,much"), "aim.gain"),
        (("--sweep", "a=1,2", "--compare", "doom.yaml", "doom.yaml"), "give one of them"),
        (("--unpaired",), "give --compare"),
        (("--leaderboard", "b.json"), "belong together"),
        (("--suite", "tasks", "--compare", "a", "b"), "takes no --compare"),
        (("--controllers", "hand"), 'there is no controller "hand"; known are'),
        (("--scenario", "levdoom/moon"), "LevDoom's levels of defend_the_center are: complete"),
        (("--scenario", "levdoom/health_gathering/lava"), "nothing to shoot"),
    ],
)
def test_bad_input(agent, arguments: tuple[str, ...], says: str) -> None:
    done = agent("arena", "--episodes", "1", *arguments, *FIXED)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
