"""`bench --recommend`: what keeps a time on this machine, and which of it is the most accurate."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from conversion.bundle import make_bundle
from core.errors import UserError
from core.images import read_image
from core.progress import silent
from engine.choice import PICTURE
from engine.models import ModelFiles, find
from engine.worker import Job
from evaluation.recommend import Candidate, Recommendation, Wanted, profile_lines, recommend, running
from tests.networks import NAMES, small_files

BUSY = f'"{sys.executable}" -c "while True: pass"'


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two models: the small network, and the same at twice the size."""
    folder = tmp_path_factory.mktemp("models")
    cfg, weights, _ = small_files(folder)
    made = []
    for name, size in (("one", None), ("two", (128, 192))):
        made.append(make_bundle(ModelFiles(cfg, weights, NAMES, size), folder / name))
    return made


def run(folders: list[Path], wanted: Wanted, accuracy: dict[str, float] | None = None) -> Recommendation:
    candidates = [
        Candidate(files, files.size or (64, 96), "openvino", precision)
        for files in (find(str(folder)) for folder in folders)
        for precision in ("fp32", "fp16")
    ]

    def score(job: Job) -> float:
        assert accuracy is not None
        assert job.files.folder is not None
        return accuracy[job.files.folder.name]

    return recommend(candidates, wanted, read_image(PICTURE), None if accuracy is None else score, silent)


@pytest.mark.slow
def test_the_most_accurate_that_keeps_the_budget(bundles: list[Path]) -> None:
    wanted = Wanted(1000.0, None, 20, 0.1)
    for better in ("one", "two"):
        found = run(bundles, wanted, {"one": 40.0, "two": 40.0, better: 50.0})
        assert found.best is not None
        assert found.best.model == better
        assert found.best.checked is not None
        assert found.best.checked.p99_ms <= 1000
        assert all(row.keeps and row.timing is not None and row.timing.frames == 20 for row in found.rows)


@pytest.mark.slow
def test_a_difference_below_a_tenth_of_a_point_is_none(bundles: list[Path]) -> None:
    found = run(bundles, Wanted(1000.0, None, 40, 0.1), {"one": 40.01, "two": 40.04})
    assert found.best is not None
    fastest = min(row.timing.p50_ms for row in found.rows if row.timing is not None)
    assert found.best.timing is not None
    assert found.best.timing.p50_ms == fastest


@pytest.mark.slow
def test_without_accuracy_models_are_not_ranked(bundles: list[Path]) -> None:
    assert run(bundles, Wanted(1000.0, None, 20, 0.1)).best is None
    alone = run(bundles[:1], Wanted(1000.0, None, 20, 0.1)).best
    assert alone is not None
    assert alone.model == "one"


@pytest.mark.slow
def test_nothing_keeps_what_nothing_can(bundles: list[Path]) -> None:
    found = run(bundles, Wanted(0.0001, None, 20, 0.1), {"one": 1.0, "two": 2.0})
    assert found.best is None
    assert all(row.reason == "over the budget" for row in found.rows)


@pytest.mark.slow
def test_a_program_runs_beside_and_ends_with_all_it_started(bundles: list[Path]) -> None:
    found = run(bundles[:1], Wanted(1000.0, BUSY, 20, 0.1))
    assert all(row.beside is not None and row.contention is not None for row in found.rows)
    before = {p.pid for p in psutil.Process().children(recursive=True)}
    with running(BUSY):
        during = {p.pid for p in psutil.Process().children(recursive=True)} - before
        assert during
    time.sleep(0.1)
    assert not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in during)


@pytest.mark.parametrize("command", ["exit 3", "no-such-program-here"])
def test_a_program_that_ends_is_a_sentence(command: str) -> None:
    with pytest.raises(UserError, match="ended with status"), running(command):
        pass


def test_the_command_prints_a_profile(bundles: list[Path], agent, tmp_path: Path) -> None:
    options = ("--models", ",".join(map(str, bundles)), "--engines", "openvino:fp32", "--budget-ms", 1000)
    done = agent("bench", "--recommend", *options, "--frames", 20, "--check-s", 1, "--json", "r.json")
    assert done.returncode == 0, done.stderr
    assert "cannot be told without annotated images" in " ".join(done.stdout.split())
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["recommended"] is None
    assert [row["model"] for row in data["rows"]] == ["one", "two"]
    done = agent(
        "bench", "--recommend", "--model", bundles[1], "--engines", "openvino:fp32", "--budget-ms", 1000, "--check-s", 1
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout[done.stdout.index("detector:") :].splitlines()[:6]
    assert yaml.safe_load("\n".join(lines))["detector"]["size"] == [128, 192]
    for more, says in (
        (("--while", "exit 3", "--model", bundles[0]), "ended with status 3"),
        (("--models", ","), "--models names no model"),
        (("--model", bundles[0], "--engines", "openvino"), "give engine and precision, as openvino:int8"),
    ):
        done = agent("bench", "--recommend", *more)
        assert done.returncode == 2
        assert says in " ".join(done.stderr.split())
    done = agent("bench", "--models", "a,b")
    assert done.returncode == 2
    assert "belong to --recommend" in done.stderr


@pytest.mark.slow
def test_profile_lines_are_a_profile(bundles: list[Path]) -> None:
    found = run(bundles[:1], Wanted(1000.0, None, 20, 0.1))
    assert found.best is not None
    lines = yaml.safe_load(profile_lines(found.best))["detector"]
    assert lines == {
        "plugin": "yolo", "model": "one", "size": [64, 96], "engine": "openvino", "precision": found.best.precision
    }  # fmt: skip
