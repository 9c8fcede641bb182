"""`engine: auto`, with real engines in their own processes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conversion.bundle import make_bundle
from core.errors import UserError
from engine import choice
from engine.models import ModelFiles, find, load
from engine.worker import Job, Worker
from tests.networks import NAMES, small_files
from tests.pictures import picture


@pytest.fixture
def files(tmp_path: Path) -> ModelFiles:
    cfg, weights, _ = small_files(tmp_path)
    return find(str(make_bundle(ModelFiles(cfg, weights, NAMES), tmp_path / "small")))


@pytest.mark.slow
def test_an_engine_that_fails_is_passed_over_with_its_reason(files: ModelFiles) -> None:
    wanted = [("openvino", "fp32"), ("openvino:npu", "fp32"), ("openvino", "int8"), ("onnx:cpu", "fp32")]
    done = []
    trials = list(choice.attempt(files, None, wanted, lambda: done.append(1)))
    assert [(t.engine, t.precision) for t in trials] == wanted
    assert len(done) == 4
    good, npu, int8, onnx = trials
    assert good.good
    assert good.error == 0
    assert "OpenVINO finds no NPU" in npu.reason
    assert "no INT8 graph" in int8.reason
    assert onnx.good
    assert onnx.error < 1e-4
    assert choice.fastest(trials) in (good, onnx)


@pytest.mark.slow
def test_an_engine_that_computes_something_else_is_passed_over(files: ModelFiles, monkeypatch) -> None:
    monkeypatch.setitem(choice.TOLERANCE, "fp32", 1e-12)
    (trial,) = choice.attempt(files, None, [("onnx:cpu", "fp32")], lambda: None)
    assert not trial.good
    assert "disagrees with the FP32 reference" in trial.reason


@pytest.mark.slow
def test_a_busy_moment_does_not_choose(files: ModelFiles) -> None:
    """The fastest few run again side by side, whatever their first times were."""
    wanted = [("openvino", "fp32"), ("tensorflow", "fp32")]
    quick, slow = choice.attempt(files, None, wanted, lambda: None)
    assert quick.p50_ms is not None
    struck = [replace(quick, p50_ms=1000.0), replace(slow, p50_ms=0.001)]
    best = choice.final(files, None, struck)
    assert best is not None
    assert (best.engine, best.precision) == ("openvino", "fp32")
    assert best.p50_ms is not None
    assert best.p50_ms < 500
    assert choice.final(files, None, [struck[0]]) == struck[0]
    assert choice.final(files, None, [replace(quick, reason="it failed")]) is None


@pytest.mark.slow
def test_the_choice_is_remembered_until_the_model_changes(files: ModelFiles, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("RETICLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "candidates", lambda files: [("openvino", "fp32"), ("onnx:cpu", "fp32")])
    model, _ = load(files)
    first = choice.resolve("auto", model, "fp32")
    assert first[0] in ("openvino", "onnx:cpu")
    assert len(json.loads((tmp_path / "cache" / "engines.json").read_text())) == 1
    monkeypatch.setattr(choice, "attempt", lambda *_: pytest.fail("it was tried again"))
    assert choice.resolve("auto", model, "fp32") == first
    monkeypatch.undo()
    assert choice.resolve("onnx:cpu", model, "auto") == ("onnx:cpu", "fp32")


def test_a_worker_finds_what_the_engine_finds_here(files: ModelFiles) -> None:
    from engine.pipeline import Pipeline

    model, _ = load(files)
    here = Pipeline(model, "openvino", "fp32", 0.3).run(picture(0))
    with Worker(Job(files, None, "openvino", "fp32", 0.3)) as worker:
        there = worker.rows(picture(0))
        assert worker.description == "f32"
        times = worker.time(picture(0), 3)
    assert len(here[0])
    for mine, theirs in zip(here, there, strict=True):
        assert (mine == theirs).all()
    assert all(whole >= network > 0 for whole, network in times)


def test_a_worker_that_dies_is_one_sentence(files: ModelFiles) -> None:
    with Worker(Job(files, None, "openvino", "fp32")) as worker:
        worker._process.kill()
        with pytest.raises(UserError, match="the engine openvino ended its process"):
            worker.rows(picture(0))
