"""What the aim controller must reach against targets whose motion is known."""

import json
from pathlib import Path

import cv2
import pytest

from agent.profile import load_profile
from evaluation.aim_suite import LATENCIES_MS, STEP_DEG, Case, Outcome, contestants, simulate
from tests.conftest import ROOT

LOADED = load_profile(ROOT / "profiles" / "doom.yaml")
CONTROLLERS = contestants(
    LOADED.roles.controller, {name: o.factory for name, o in LOADED.catalogue.offers["controller"].items()}
)


def outcome_of(case: Case) -> Outcome:
    return simulate(case, CONTROLLERS[case.controller], LOADED.profile.calibration)


@pytest.mark.parametrize("latency", LATENCIES_MS)
def test_a_step_settles_soon_and_without_overshoot(latency: float) -> None:
    outcome = outcome_of(Case("still", "predictive", latency, 0, 0.0, 0))
    assert outcome.overshoot_deg <= 0.05 * STEP_DEG
    assert outcome.settle_ms <= latency + 150


@pytest.mark.parametrize("seed", range(3))
def test_a_strafing_target_is_not_lagged_behind(seed: int) -> None:
    assert outcome_of(Case("strafing", "predictive", 100, 2, 0.0, seed)).steady_deg < 0.5
    assert outcome_of(Case("strafing", "proportional", 100, 2, 0.0, seed)).steady_deg > 5


def test_pid_follows_better_than_proportional_where_there_is_no_latency() -> None:
    plain, pid = (outcome_of(Case("strafing", m, 0, 0, 0.0, 0)).steady_deg for m in ("proportional", "pid"))
    assert pid < 0.5 * plain


def test_the_command_writes_table_json_and_picture(agent, tmp_path: Path) -> None:
    done = agent("arena", "--suite", "aim", "--json", "s.json", "--out", "s.png", "--markdown", "s.md")
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "s.json").read_text())["rows"]
    assert {row["controller"] for row in rows} == {"proportional", "pid", "predictive", "kalman"}
    assert len(rows) == 3 * 4 * 5 * 4 * 3
    assert cv2.imread(str(tmp_path / "s.png")).shape[1] > 1000
    assert "| predictive | 300 |" in (tmp_path / "s.md").read_text()


def test_bad_input(agent, tmp_path: Path) -> None:
    done = agent("arena", "--suite", "eyes")
    assert done.returncode == 2
    assert "known are: aim, " in done.stderr
    done = agent("arena", "--suite", "aim", "--profile", "desktop.yaml")
    assert done.returncode == 2
    assert "agent.py calibrate" in done.stderr
