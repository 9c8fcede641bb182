import json
from pathlib import Path

import numpy as np
import pytest

from agent.latency_histogram import Histogram
from core.errors import UserError
from evaluation.latency import draw, read, rows


def report(path: Path, scale: float, frames: int = 5000, seed: int = 0) -> Path:
    histogram = Histogram()
    for ns in np.random.default_rng(seed).lognormal(np.log(5e6 * scale), 0.1, frames):
        histogram.record(int(ns))
    path.write_text(json.dumps({"histograms_ns": {"infer": histogram.buckets(), "end_to_end": histogram.buckets()}}))
    return path


def test_what_is_slower_and_what_is_noise(tmp_path: Path) -> None:
    runs = [
        read(report(tmp_path / f"{n}.json", s, seed=k)) for k, (n, s) in enumerate((("a", 1), ("b", 1), ("c", 1.5)))
    ]
    table = {(row["run"], row["stage"]): row for row in rows(runs)}
    first, same, slow = (table[name, "infer"] for name in "abc")
    assert first["against"] is None
    assert first["p50"]["low"] < 5 < first["p50"]["high"]
    assert first["count"] == 5000
    assert same["against"]["p50"]["low"] < 1 < same["against"]["p50"]["high"]
    assert slow["against"]["p50"]["low"] > 1.2
    assert slow["against"]["p50"]["value"] == pytest.approx(1.5, rel=0.1)
    assert draw(runs).startswith(b"\x89PNG")


def test_more_frames_know_it_better(tmp_path: Path) -> None:
    few, many = (rows([read(report(tmp_path / f"{n}.json", 1, n))])[0]["p99"] for n in (500, 50_000))
    assert many["high"] - many["low"] < few["high"] - few["low"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"histograms_ns": {}}', '{"histograms_ns": {"infer": [[1]]}}'])
def test_what_is_no_report_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(UserError, match=r"r\.json: th"):
        read(tmp_path / "r.json")


def test_the_command_compares_two_runs(agent, tmp_path: Path) -> None:
    report(tmp_path / "a.json", 1)
    report(tmp_path / "b.json", 2)
    done = agent("latency", "a.json", "b.json", "--json", "l.json", "--out", "l.png")
    assert done.returncode == 0, done.stderr
    assert "slower" in done.stdout
    assert len(json.loads((tmp_path / "l.json").read_text())["rows"]) == 4
    assert (tmp_path / "l.png").stat().st_size > 5000
