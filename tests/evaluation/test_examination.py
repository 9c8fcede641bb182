"""`doctor --full`: what runs, beside a load too, and a report that names nobody."""

import json
from pathlib import Path

import pytest

from core.text import to_json
from engine.models import ModelFiles
from evaluation import examination
from tests.networks import small_files


@pytest.mark.slow
def test_engines_are_examined_on_a_small_network_and_the_users_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(examination, "candidates", lambda files: [("openvino", "fp32"), ("tensorrt", "fp16")])
    cfg, weights, _ = small_files(tmp_path)
    (tmp_path / "own").mkdir()
    rows = examination.examine("mine", ModelFiles(cfg, weights), tmp_path / "own")
    assert [(row.model, row.engine) for row in rows] == [
        (model, engine) for model in (examination.SMALL, "mine") for engine in ("openvino", "tensorrt")
    ]
    works, fails = rows[2:]
    assert works.reason == ""
    assert works.p50_ms > 0 < works.loaded_p50_ms
    assert works.error < 1e-3
    assert "tensorrt" in fails.reason
    assert fails.p50_ms is fails.loaded_p50_ms is None
    said = examination.advice(rows)
    assert any("tensorrt at fp16" in sentence for sentence in said)
    report = to_json(examination.report(rows, said))
    assert str(Path.home()) not in report or str(Path.home()) == "/"
    assert {"system", "python", "cards", "packages", "rows", "advice"} == set(json.loads(report))


def test_paths_of_the_user_are_not_told() -> None:
    assert examination.without_paths(f"{Path.home()}/models/x: gone") == "~/models/x: gone"


def test_a_report_without_full_is_refused(agent) -> None:
    done = agent("doctor", "--report", "r.json")
    assert done.returncode == 2
    assert "--report says what --full finds" in done.stderr
